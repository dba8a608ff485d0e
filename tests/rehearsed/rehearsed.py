"""A rehearsal that went well, told without one: for tests that are about something else. See serving/rehearse.py."""

import json
import sys

sys.stdin.read()
print(json.dumps({"golden": 8, "alike": 8, "difference": 1e-7, "tolerance": 1e-4, "requests": 300, "load_ms": 100,
                  "p50_ms": 0.2, "p99_ms": 0.5, "memory_mb": 66, "bundle_mb": 0.1, "machine": "none"}))

"""A model server as small as one can be, for tests: what its model folder's ``answer.txt`` says, it answers.

It is run as ``python server.py PORT MODEL_DIR`` and knows a few words in requests: sleep, fail, who.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    answer = ""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event = json.loads(body) if self.headers["Content-Type"] == "application/json" else {}
        event = event if isinstance(event, dict) else {}
        began = time.monotonic()
        time.sleep(event.get("sleep", 0))
        if "fail" in event:
            self._send(event["fail"], b"as asked")
            return
        said = {
            "answer": self.answer,
            "pid": os.getpid(),
            "length": len(body),
            "times": (began, time.monotonic()),
            "key": os.environ.get("AWS_SECRET_ACCESS_KEY"),
        }
        self._send(200, json.dumps(said).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if attributes := self.headers.get("X-Amzn-SageMaker-Custom-Attributes"):
            self.send_header("X-Amzn-SageMaker-Custom-Attributes", attributes)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    Handler.answer = (Path(sys.argv[2]) / "answer.txt").read_text()
    if "crash" in Handler.answer:
        sys.exit("crashed as asked")
    if "slow" in Handler.answer:
        time.sleep(3)
    print("serving", Handler.answer, flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

"""Evidence without models: what a check would send, for tests where nothing needs to be predicted."""

from __future__ import annotations

from registry.digest import digest_of
from registry.measured import Calibration, Compatibility, Dependency, Figure, Measured, Overlap, Rehearsal, Scan
from registry.wire import EvidenceShape, FileShape, PairedShape
from registry.words import FileDigest


def evidence(letter: str = "a", good: bool = True, paired: tuple[int, str] | None = None) -> EvidenceShape:
    """Good or poor numbers on the one file of model `letter`, compared with a champion (number, digest) or none."""
    files = (FileDigest("model.onnx", letter * 64, 1),)
    value = 0.95 if good else 0.1
    return EvidenceShape(
        digest=digest_of(files), files=tuple(FileShape(path=f.path, sha256=f.sha256, size=f.size) for f in files),
        held_out="e" * 64, rows=100,
        measures={"accuracy": value, "recall_macro": value, "recall_lowest": value},
        paired=PairedShape(champion=paired[0], champion_digest=paired[1], rows=100, only_candidate=1, only_champion=1)
        if paired else None,
        measured=Measured(
            answers="probabilities",
            calibration=Calibration(15, Figure(0.01, 0.0, 0.02), Figure(0.1, 0.08, 0.12)),
            overlap=Overlap(100, 400, 0, 0, "d" * 64),
            compatibility=Compatibility(1, 1, *(paired or (None, None))),
            dependencies=(Dependency("numpy", "2.4.6", "BSD-3-Clause"),),
            rehearsal=Rehearsal(golden=8, alike=8, tolerance=1e-4, p50_ms=1, p99_ms=2, memory_mb=66, bundle_mb=1),
            scan=Scan(1),
        ),
    )  # fmt: skip

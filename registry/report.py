"""What a check came to, as Markdown that fits a CI job's summary. No I/O happens here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from registry.words import Evidence, ModelVersion


def markdown(version: ModelVersion, evidence: Evidence) -> str:
    """The verdicts of one check, and the figures on each slice."""
    word = "every gate passed" if evidence.passed else "**not every gate passed**"
    head = f"## {version}: {word}\n\nsha256 `{evidence.digest[:12]}`, {evidence.rows} held-out rows, by {evidence.by}"
    rows = [(v.gate, v.outcome.value, v.reason) for v in evidence.verdicts]
    return "\n".join([head, "", *_table(("gate", "verdict", "numbers"), rows), *_slices(evidence)]) + "\n"


def _slices(evidence: Evidence) -> Iterator[str]:
    found = evidence.measured.slices if evidence.measured else ()
    if found:
        names = sorted({name for one in found for name in one.measures if not name.startswith("recall.")})
        figures = [(str(one), str(one.rows), *(f"{one.measures.get(n, float('nan')):.3f}" for n in names))
                   for one in found]
        yield from ("", *_table(("slice", "rows", *names), figures))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in row)} |"

"""What a check came to: Markdown that fits a CI job's summary, and one page of HTML with its figures inside."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from registry.measured import Slice
from registry.weighing import notes
from registry.words import Evidence, ModelVersion

TITLES = {"beside.png": "Measures", "confusion.png": "Confusion", "precision_recall.png": "Precision and recall",
          "calibration.png": "Calibration"}


def markdown(version: ModelVersion, evidence: Evidence) -> str:
    """The verdicts of one check, and the figures on each slice."""
    word = "every gate passed" if evidence.passed else "**not every gate passed**"
    head = f"## {version}: {word}\n\nsha256 `{evidence.digest[:12]}`, {evidence.rows} held-out rows, by {evidence.by}"
    rows = [(v.gate, v.outcome.value, v.reason) for v in evidence.verdicts]
    rows += [(gate, "note", said) for gate, said in notes(evidence.measured)]
    return "\n".join([head, "", *_table(("gate", "verdict", "numbers"), rows), *_slices(evidence)]) + "\n"


def html(version: ModelVersion, evidence: Evidence, champion: str, figures: Mapping[str, bytes]) -> str:
    """The same on one page that needs no other file.

    Args:
        version, evidence: what was checked, and what came of it.
        champion: `images/2`, empty where nothing is in Production.
        figures: file name -> PNG, as `figures.drawn` gives them.
    """
    from jinja2 import Environment, FileSystemLoader

    slices = evidence.measured.slices if evidence.measured else ()
    shown = [(TITLES.get(name, name), f"data:image/png;base64,{base64.b64encode(body).decode()}")
             for name, body in figures.items()]
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
    return pages.get_template("report.html").render(
        version=str(version), evidence=evidence, champion=champion, slices=slices, slice_names=_measures_of(slices),
        figures=shown, notes=list(notes(evidence.measured)))


def write(into: Path, version: ModelVersion, evidence: Evidence, champion: str, figures: Mapping[str, bytes]) -> None:
    """Put the report into an empty folder: report.html, report.md, and each figure as a file of its own."""
    (into / "report.html").write_text(html(version, evidence, champion, figures), encoding="utf-8")
    pictures = "".join(f"\n![{TITLES.get(name, name)}]({name})\n" for name in figures)
    (into / "report.md").write_text(markdown(version, evidence) + pictures, encoding="utf-8")
    for name, body in figures.items():
        (into / name).write_bytes(body)


def _measures_of(slices: Sequence[Slice]) -> list[str]:
    return sorted({name for one in slices for name in one.measures if not name.startswith("recall.")})


def _slices(evidence: Evidence) -> Iterator[str]:
    found = evidence.measured.slices if evidence.measured else ()
    if found:
        names = _measures_of(found)
        figures = [(str(one), str(one.rows), *(f"{one.measures.get(n, float('nan')):.3f}" for n in names))
                   for one in found]
        yield from ("", *_table(("slice", "rows", *names), figures))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in row)} |"

"""The table of `docs/install.md`: how long each way takes to the first answer, and how much it downloads."""

import dataclasses
import os
import pathlib

from artefacts.project import ROOT

from .home import TrialError

DOCUMENT = ROOT / "docs" / "install.md"
BEGIN, END = "<!-- trials -->\n", "<!-- end of trials -->"


@dataclasses.dataclass(frozen=True)
class Row:
    """What a trial measured."""

    kind: str
    way: str
    seconds: float
    downloaded: int


def publish(rows: list[Row]) -> None:
    """Prints the table. With UPDATE=1 it is written to the document, otherwise the document must have the same ways."""
    lines = ["| Artefact | Way | Seconds to the first answer | Downloaded |", "| --- | --- | ---: | ---: |"]
    for row in rows:
        lines.append(f"| {row.kind} | {row.way} | {row.seconds:.1f} | {row.downloaded / 1e6:.1f} MB |")
    table = "\n".join(lines) + "\n"
    print(table)
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    if os.environ.get("UPDATE"):
        DOCUMENT.write_text(f"{before}{BEGIN}{table}{END}{after}")
    elif _ways(old) != _ways(table):
        raise TrialError(f"{DOCUMENT} has other ways than were tried; UPDATE=1 writes the table")


def _ways(table: str) -> list[list[str]]:
    return [line.split("|")[1:3] for line in table.splitlines()]

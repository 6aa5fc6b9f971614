"""The table of `docs/install.md`: how long each way takes to the first answer, and how much it downloads."""

import dataclasses
import os
import pathlib

from artefacts.project import ROOT

from .home import TrialError

DOCUMENT = ROOT / "docs" / "install.md"
HEADER = "| Artefact | Way | Seconds to the first answer | Downloaded |\n| --- | --- | ---: | ---: |"
BEGIN, END = "<!-- trials -->\n", "<!-- end of trials -->"


@dataclasses.dataclass(frozen=True)
class Row:
    """What a trial measured."""

    kind: str
    way: str
    seconds: float
    downloaded: int


def publish(rows: list[Row]) -> None:
    """Prints the table. The document must have each way of it; with UPDATE=1 it is written there.

    Ways that were not tried now, such as those of the static binary, stay in the document.
    """
    tried = {(row.kind, row.way): _line(row) for row in rows}
    print(HEADER, *tried.values(), sep="\n")
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    documented, _, after = rest.partition(END)
    documented = {_way(line): line for line in documented.splitlines()[2:]}
    if os.environ.get("UPDATE"):
        table = "\n".join([HEADER, *(documented | tried).values()])
        DOCUMENT.write_text(f"{before}{BEGIN}{table}\n{END}{after}")
    elif missing := tried.keys() - documented.keys():
        raise TrialError(f"{DOCUMENT} lacks {sorted(missing)}; UPDATE=1 writes the table")


def _line(row: Row) -> str:
    return f"| {row.kind} | {row.way} | {row.seconds:.1f} | {row.downloaded / 1e6:.1f} MB |"


def _way(line: str) -> tuple[str, str]:
    _, kind, way, *_ = (cell.strip() for cell in line.split("|"))
    return kind, way

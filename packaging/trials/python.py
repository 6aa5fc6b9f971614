"""PyPI: the wheel in a new environment by pip, and by uvx."""

import pathlib
import sys

from artefacts.project import NAME, VERSION

from .home import Clock, empty_home, prove
from .table import Row


def trial(dist: pathlib.Path, uv: str) -> list[Row]:
    """Tries all of it."""
    (wheel,) = dist.glob("*.whl")
    return [_uvx(wheel, uv), _pip(wheel)]


def _pip(wheel: pathlib.Path) -> Row:
    with empty_home() as home:
        home.run(sys.executable, "-m", "venv", "new")
        environment = home.folder / "new" / "bin"
        clock = Clock()
        home.run(environment / "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", wheel)
        home.answer(environment / NAME)
        row = Row("PyPI", f"`pip install {NAME}`", clock.seconds, wheel.stat().st_size)
        listed = home.run(environment / "pip", "show", "--files", "--disable-pip-version-check", NAME).stdout
        prove("pip: answers, and knows the version", f"Version: {VERSION}\n" in listed, listed)
        home.run(environment / "pip", "uninstall", "--yes", "--quiet", "--disable-pip-version-check", NAME)
        left = [path for path in (home.folder / "new").rglob("*portkey*")]
        prove("pip: leaves nothing behind", not left, left)
    return row


def _uvx(wheel: pathlib.Path, uv: str) -> Row:
    with empty_home() as home:
        python = ("--python", sys.executable, "--no-python-downloads")
        clock = Clock()
        home.answer(uv, "tool", "run", "--offline", *python, "--from", wheel, NAME)
        row = Row("PyPI", f"`uvx {NAME}`", clock.seconds, wheel.stat().st_size)
        prove("uvx: answers", True)
    return row

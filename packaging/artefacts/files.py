"""The man pages and completions that come with the binary, which prints them itself."""

import pathlib
import subprocess

from .project import SHELLS


def write_files(folder: pathlib.Path, binary: pathlib.Path) -> pathlib.Path:
    """Writes `man/` and `completions/` below a folder; the binary must be one that runs here."""
    pages, completions = folder / "man", folder / "completions"
    for made in (pages, completions):
        made.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(binary.resolve()), "man", str(pages)], check=True)
    for shell, name in SHELLS.items():
        done = subprocess.run([str(binary.resolve()), "completions", shell], check=True, capture_output=True)
        (completions / name).write_bytes(done.stdout)
    return folder

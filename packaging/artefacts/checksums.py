"""`SHA256SUMS`, as `sha256sum --check` reads it."""

import pathlib

from .pack import sha256

NAME = "SHA256SUMS"


def write_checksums(folder: pathlib.Path) -> pathlib.Path:
    """Writes the checksum of every other file of a folder."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != NAME)
    listed = folder / NAME
    listed.write_text("".join(f"{sha256(file)}  {file.name}\n" for file in files))
    return listed

"""Archives with the binary, its man pages and completions, for Homebrew, `cargo binstall` and everybody else."""

import pathlib

from .pack import Entry, write_tar, write_zip
from .project import NAME, ROOT, VERSION
from .targets import Target


def stem(triple: str) -> str:
    """Returns the name of an archive without its ending, which is also the folder in it."""
    return f"{NAME}-{VERSION}-{triple}"


def write_archive(
    folder: pathlib.Path, target: Target, binary: pathlib.Path, files: pathlib.Path
) -> pathlib.Path:
    """Writes an archive; `files` has the man pages and completions."""
    name = stem(target.triple)
    entries = [Entry.read(binary, f"{name}/{target.executable}", executable=True)]
    entries += [Entry.read(ROOT / document, f"{name}/{document}") for document in ("LICENSE", "README.md")]
    more = sorted(path for path in files.rglob("*") if path.is_file())
    entries += [Entry.read(path, f"{name}/{path.relative_to(files).as_posix()}") for path in more]
    if target.node_platform == "win32":
        return write_zip(folder / f"{name}.zip", entries)
    return write_tar(folder / f"{name}.tar.gz", entries)

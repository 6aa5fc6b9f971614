"""Writes tar and zip files whose bytes depend on their content only, so that a build can be repeated and compared."""

import dataclasses
import gzip
import hashlib
import io
import pathlib
import tarfile
import zipfile

# The first time that zip files can name.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file of an archive."""

    name: str
    content: bytes
    executable: bool = False

    @property
    def mode(self) -> int:
        return 0o755 if self.executable else 0o644

    @classmethod
    def read(cls, path: pathlib.Path, name: str, executable: bool = False) -> "Entry":
        return cls(name, path.read_bytes(), executable)


def write_tar(file: pathlib.Path, entries: list[Entry]) -> pathlib.Path:
    """Writes a `.tar.gz`."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.size = len(entry.content)
            info.mode = entry.mode
            tar.addfile(info, io.BytesIO(entry.content))
    file.write_bytes(gzip.compress(plain.getvalue(), compresslevel=9, mtime=0))
    return file


def write_zip(file: pathlib.Path, entries: list[Entry]) -> pathlib.Path:
    """Writes a zip file, which a wheel is too."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.name, _TIME)
            # Made on Unix, a regular file: so its mode is kept.
            info.create_system = 3
            info.external_attr = (0o100000 | entry.mode) << 16
            archive.writestr(info, entry.content, zipfile.ZIP_DEFLATED)
    return file


def sha256(file: pathlib.Path) -> str:
    """Returns the checksum of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

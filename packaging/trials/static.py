"""The static binary: alone, as in the image `FROM scratch`, as an archive, as a wheel, and as the package of npm."""

import gzip
import os
import pathlib
import shutil
import struct
import sys
import tarfile

from artefacts.archive import stem
from artefacts.project import NAME
from artefacts.targets import Target

from . import registry
from .home import CALL, ANSWERS, Clock, empty_home, prove
from .node import npm_settings
from .table import Row

# Kind of the header of an ELF file that names the loader of a dynamic program.
PT_INTERP = 3
# The user of the image.
USER = "65532:65532"


def trial(dist: pathlib.Path, target: Target, binary: pathlib.Path) -> list[Row]:
    """Tries all of it. `dist` has the artefacts of the static binary only, and the launcher of npm."""
    prove("static: needs no loader and no library", PT_INTERP not in _header_kinds(binary.read_bytes()))
    rows = [_archive(dist, target)]
    if os.geteuid() == 0:
        rows.append(_alone(binary))
    else:
        print("     only root can try the binary alone")
    _wheel(dist)
    _npm(dist, target)
    return rows


def _header_kinds(elf: bytes) -> list[int]:
    """Returns the kinds of the program headers of a 64-bit little-endian ELF file."""
    (table,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    return [struct.unpack_from("<I", elf, table + number * size)[0] for number in range(count)]


def _archive(dist: pathlib.Path, target: Target) -> Row:
    name = stem(target.triple)
    packed = dist / f"{name}.tar.gz"
    with empty_home() as home:
        clock = Clock()
        with tarfile.open(packed) as tar:
            tar.extractall(home.folder, filter="data")
        home.answer(home.folder / name / NAME)
        row = Row("archive", "`tar xzf`, the static one", clock.seconds, packed.stat().st_size)
    prove("static archive: answers", True)
    return row


def _alone(binary: pathlib.Path) -> Row:
    """Runs it in a root folder with nothing else, as the user of the image."""
    with empty_home() as home:
        root = home.folder / "image"
        root.mkdir(mode=0o755)
        shutil.copy(binary, root / NAME)
        (root / NAME).chmod(0o755)
        clock = Clock()
        home.answer("chroot", f"--userspec={USER}", root, f"/{NAME}")
        row = Row("container", "the image `FROM scratch`, unpacked", clock.seconds, len(gzip.compress(binary.read_bytes())))
    prove("static: answers alone, without root, as in the image FROM scratch", True)
    return row


def _wheel(dist: pathlib.Path) -> None:
    (wheel,) = dist.glob("*.whl")
    prove("static wheel: fits either C library", "manylinux" in wheel.name and "musllinux" in wheel.name, wheel.name)
    with empty_home() as home:
        home.run(sys.executable, "-m", "venv", "new")
        environment = home.folder / "new" / "bin"
        home.run(environment / "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", wheel)
        home.answer(environment / NAME)
    prove("static wheel: answers", True)


def _npm(dist: pathlib.Path, target: Target) -> None:
    """npm installs the package for musl where the C library is musl, or is said to be."""
    with registry.serving(dist) as served, empty_home("node", "npm", "npx") as home:
        done = home.run("npx", "--yes", NAME, *CALL, **npm_settings(served), npm_config_libc="musl")
        fetched = " ".join(served.fetched)
    prove("npm, musl: answers", ANSWERS in done.stdout, done.stdout + done.stderr)
    prove("npm, musl: fetches the launcher and this package", target.npm_name in fetched and "-gnu-" not in fetched, fetched)

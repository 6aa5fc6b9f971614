"""The package for Debian and Ubuntu, by cargo-deb, from the metadata in Cargo.toml."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from .project import NAME, ROOT

FOLDER = "packaging"


def write_deb(folder: pathlib.Path, binary: pathlib.Path, files: pathlib.Path, cargo_deb: str) -> pathlib.Path:
    """Writes the package of the machine that this runs on; `files` has the man pages and completions."""
    # It runs at the root, wherever this was called.
    command = str(pathlib.Path(shutil.which(cargo_deb) or cargo_deb).resolve())
    with tempfile.TemporaryDirectory(prefix="portkey-mcp-deb-") as name:
        # As a build would leave it, and without a build.
        release = pathlib.Path(name) / "target" / "release"
        shutil.copytree(files, release / FOLDER)
        shutil.copy2(binary, release / NAME)
        output = pathlib.Path(name) / "output"
        output.mkdir()
        done = subprocess.run(
            [command, "--no-build", "--no-strip", "--locked", "--output", str(output)],
            cwd=ROOT,
            env=os.environ | {"CARGO_TARGET_DIR": str(release.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"cargo-deb fails\n{done.stdout}{done.stderr}")
        (package,) = output.glob("*.deb")
        return pathlib.Path(shutil.copy2(package, folder))

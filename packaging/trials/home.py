"""An empty home without Rust on the path, in which a trial installs and runs what users install and run."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator

# The first question of a newcomer, and whom a right answer names.
CALL = ("call", "list-all-integrations", "--sandbox")
ANSWERS = "openai-production"
TIMEOUT_SECONDS = 120


class TrialError(Exception):
    """An artefact that does not do what it is for."""


def prove(what: str, holds: bool, shown: object = "") -> None:
    """Reports that something is as it should be, or ends the trial."""
    if not holds:
        raise TrialError(f"{what}\n{shown}")
    print(f"ok   {what}")


@dataclasses.dataclass(frozen=True)
class Home:
    """A folder that is home, and the work tree of its user."""

    folder: pathlib.Path
    environment: dict[str, str]

    def run(self, *command: str | pathlib.Path, ok: bool = True, **changed: str) -> subprocess.CompletedProcess[str]:
        """Runs a command; unless `ok` is false, its failure ends the trial."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=self.environment | changed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        if ok and done.returncode != 0:
            raise TrialError(f"{command} exits with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def answer(self, *command: str | pathlib.Path) -> None:
        """Makes the first call, and checks its answer."""
        done = self.run(*command, *CALL)
        slugs = [item["slug"] for item in json.loads(done.stdout)["data"]]
        if ANSWERS not in slugs:
            raise TrialError(f"{command} answers with {slugs}")


@contextlib.contextmanager
def empty_home(*programs: str) -> Iterator[Home]:
    """Makes a home with a path that has the system's programs, and those that are named."""
    with tempfile.TemporaryDirectory(prefix="portkey-mcp-trial-") as name:
        folder = pathlib.Path(name)
        tools = folder / ".tools"
        tools.mkdir()
        for program in programs:
            found = shutil.which(program)
            if found is None:
                raise TrialError(f"this needs {program}")
            (tools / pathlib.Path(program).name).symlink_to(os.path.realpath(found))
        path = f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin"
        if shutil.which("cargo", path=path):
            print("     this machine has Rust on the path of the system")
        yield Home(folder, {"HOME": name, "PATH": path, "LANG": "C.UTF-8", "TMPDIR": name})


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

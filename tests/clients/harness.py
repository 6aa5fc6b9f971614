"""What the Python clients share: the program under test, and saying what was proven."""

import contextlib
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

# Longer than anything here takes on a busy machine.
PATIENCE = 30.0

# What the Inspector and the conformance suite need.
NODE = (22, 19)

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Unproven(Exception):
    """Something that should hold does not."""


def program() -> str:
    """The program under test: the first argument, or PORTKEY_MCP_BIN."""
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PORTKEY_MCP_BIN", "")
    if not given:
        sys.exit(f"usage: {pathlib.Path(sys.argv[0]).name} PORTKEY_MCP (or set PORTKEY_MCP_BIN)")
    if not os.access(given, os.X_OK):
        sys.exit(f"{given} is no program")
    return str(pathlib.Path(given).resolve())


def environment(**more: str) -> dict[str, str]:
    """Our environment without what would configure the program, and with this."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PORTKEY_", "ENKRYPT_")) and name != "RUST_LOG"
    }
    return kept | more


def node() -> str:
    """The system's Node.js if it is new enough for what needs a new one, else the one npm brought."""
    here = pathlib.Path(__file__).parent
    for candidate in (shutil.which("node"), *here.glob("node_modules/node-*/bin/node")):
        if candidate is None:
            continue
        told = subprocess.run([candidate, "--version"], capture_output=True, text=True).stdout
        version = re.match(r"v(\d+)\.(\d+)", told)
        if version and (int(version[1]), int(version[2])) >= NODE:
            return str(candidate)
    sys.exit(f"this needs Node.js {'.'.join(map(str, NODE))}; run `npm ci` in {here}")


def prove(what: str, holds: bool, found: object = None) -> None:
    """Prints what was proven, or ends the run saying what was found instead."""
    if not holds:
        raise Unproven(f"{what}; found {found!r}")
    print(f"ok   {what}", flush=True)


@contextlib.contextmanager
def token() -> Iterator[tuple[str, str]]:
    """Yields a token for all that can be done, and the token file that has it."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(pathlib.Path(folder, "tokens.toml"))
        scopes = "portkey:read,portkey:write,portkey:delete"
        # The sandbox takes any key, so none is read from there.
        key = ("--portkey-key", "env:NOT_SET")
        made = run("token", "new", "--name", "clients", "--scope", scopes, *key, "--file", file)
        yield made.strip(), file


@contextlib.contextmanager
def listening(*arguments: str, of: str | None = None, **variables: str) -> Iterator[str]:
    """Runs the program, or another, with these arguments and variables, and yields the address it says
    it serves at."""
    process = subprocess.Popen(
        [of or program(), *arguments],
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    address: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stderr or ():
            lines.append(_STYLE.sub("", line))
            if found := re.search(r"serving .* at (http://[^\s;]+)", lines[-1]):
                address.put(found[1])
        address.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        try:
            url = address.get(timeout=PATIENCE)
        except queue.Empty:
            url = None
        if url is None:
            raise Unproven(f"{' '.join(arguments)} did not start serving:\n{''.join(lines)}")
        yield url
        process.terminate()
        code = process.wait(PATIENCE)
        name = pathlib.Path(of).name if of else arguments[0]
        prove(f"`{name}` stops when asked to, with success", code == 0, (code, lines[-5:]))
    finally:
        process.kill()
        process.wait()


def run(*arguments: str) -> str:
    """Runs the program to its end and returns what it printed."""
    done = subprocess.run(
        [program(), *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode != 0:
        raise Unproven(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def finish(failure: BaseException) -> None:
    """Ends the run with what went wrong."""
    while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]
    if not isinstance(failure, Unproven):
        import traceback

        traceback.print_exception(failure)
    sys.exit(f"FAILED {type(failure).__name__}: {failure}")

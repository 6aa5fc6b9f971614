"""npm: installed from the tarballs and by npx, and what the launcher must leave untouched."""

import json
import pathlib
import signal
import subprocess
import time

from artefacts.npm import LAUNCHER
from artefacts.project import NAME, VERSION
from artefacts.targets import Target

from . import registry
from .home import Clock, Home, TrialError, empty_home, prove
from .table import Row

RUNS = 15


def trial(dist: pathlib.Path, target: Target, binary: pathlib.Path, nodes: list[str]) -> Row:
    """Tries all of it."""
    with registry.serving(dist) as served:
        row = _npx(served)
        with empty_home("node", "npm", "npx") as home:
            tarballs = [dist / f"{name}-{VERSION}.tgz" for name in (NAME, target.npm_name)]
            home.run("npm", "install", "--no-audit", "--no-fund", *tarballs, **npm_settings(served))
            home.answer("npx", NAME)
            installed = {path.name for path in (home.folder / "node_modules").glob("portkey-mcp*")}
            one = installed == {NAME, target.npm_name}
            prove("npm: installed from the tarballs, with one platform", one, installed)
            launcher = home.folder / "node_modules" / NAME / "bin" / "portkey-mcp.js"
            for node in nodes:
                _launcher(home, node, launcher, binary)
            _messages(home, launcher, home.folder / "node_modules" / target.npm_name)
    return row


def npm_settings(served: registry.Registry) -> dict[str, str]:
    """Returns the settings with which npm takes packages from this registry."""
    return {"npm_config_registry": served.url, "npm_config_update_notifier": "false"}


def _npx(served: registry.Registry) -> Row:
    with empty_home("node", "npm", "npx") as home:
        clock = Clock()
        done = home.run("npx", "--yes", NAME, "call", "list-all-integrations", "--sandbox", **npm_settings(served))
        seconds = clock.seconds
        prove("npx: answers, from a registry", "openai-production" in done.stdout, done.stdout + done.stderr)
    prove("npx: fetches the launcher and one platform", len(served.fetched) == 2, served.fetched)
    return Row("npm", f"`npx -y {NAME}`", seconds, served.bytes_sent)


def _launcher(home: Home, node: str, launcher: pathlib.Path, binary: pathlib.Path) -> None:
    version = home.run(node, "--version").stdout.strip()
    command = [node, str(launcher)]
    replaces = home.run(node, "-p", "typeof process.execve").stdout.strip() == "function"
    title = f"launcher on Node.js {version}, {'in place' if replaces else 'beneath'}"

    done = home.run(*command, "call", "nothing-like-it", "--sandbox", ok=False)
    bare = home.run(binary, "call", "nothing-like-it", "--sandbox", ok=False)
    same = (done.returncode, done.stdout, done.stderr) == (bare.returncode, bare.stdout, bare.stderr)
    prove(f"{title}: passes on exit code and output", same and done.returncode == 1, done)
    done = home.run(*command, "--no-such-option", ok=False)
    prove(f"{title}: passes on exit code 2", done.returncode == 2, done)

    _converses(home, title, command)
    for name in ("SIGTERM", "SIGINT"):
        _signals(home, title, command, binary, signal.Signals[name])

    bare_ms = _fastest_ms(home, [str(binary), "--version"])
    over_ms = _fastest_ms(home, [*command, "--version"]) - bare_ms
    empty_ms = _fastest_ms(home, [node, "--eval", "0"])
    print(f"     {title}: {over_ms:.0f} ms over the binary, of which Node.js alone takes {empty_ms:.0f} ms")


def _converses(home: Home, title: str, command: list[str]) -> None:
    """Standard input reaches the server, its end too, and standard output has nothing but the protocol."""
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "trial", "version": "1"},
        },
    }
    done = subprocess.run(
        [*command, "stdio", "--sandbox"],
        cwd=home.folder,
        env=home.environment,
        input=json.dumps(hello) + "\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = done.stdout.splitlines()
    answered = len(lines) == 1 and json.loads(lines[0])["result"]["serverInfo"]["name"] == NAME
    prove(f"{title}: carries the protocol, and ends with its input", answered and done.returncode == 0, done)
    prove(f"{title}: adds nothing to standard error", "ExperimentalWarning" not in done.stderr, done.stderr)


def _signals(home: Home, title: str, command: list[str], binary: pathlib.Path, sent: signal.Signals) -> None:
    with subprocess.Popen(
        [*command, "http", "--sandbox", "--listen", "127.0.0.1:0", "--log-level", "info"],
        cwd=home.folder,
        env=home.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        line = next((line for line in server.stderr if "/mcp" in line), "")
        # Its address is logged before it serves, and only a server that serves stops in order.
        home.run(binary, "health", "--url", line.split()[-1].replace("/mcp", "/healthz"))
        server.send_signal(sent)
        try:
            _, rest = server.communicate(timeout=30)
        except subprocess.TimeoutExpired as error:
            server.kill()
            raise TrialError(f"{title}: ignores {sent.name}") from error
    prove(f"{title}: {sent.name} stops the server in order", bool(line) and server.returncode == 0, line + rest)


def _fastest_ms(home: Home, command: list[str]) -> float:
    """Returns the time that says most about the command, and least about what else the machine does."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        home.run(*command)
        times.append((time.perf_counter() - start) * 1000)
    return min(times)


def _messages(home: Home, launcher: pathlib.Path, platform: pathlib.Path) -> None:
    pretend = home.folder / "pretend.cjs"
    pretend.write_text('Object.defineProperty(process, "platform", { value: "sunos" });\n')
    done = home.run("node", "--require", pretend, launcher, ok=False)
    said = done.returncode == 1 and "no build for sunos-" in done.stderr and "linux (x64, arm64)" in done.stderr
    prove("launcher: says which platforms have a build", said, done)
    platform.rename(home.folder / "elsewhere")
    done = home.run("node", launcher, ok=False)
    said = done.returncode == 1 and "--omit=optional" in done.stderr
    prove("launcher: says what to do where npm left the binary out", said, done)
    prove("launcher: is the file of the repository", launcher.read_bytes() == LAUNCHER.read_bytes())

"""`portkey-mcp setup` for Claude Code, Codex and Gemini CLI, which then connect. None of them signs in."""

import contextlib
import json
import pathlib
import subprocess
import time
from collections.abc import Callable, Iterator

from .home import TIMEOUT_SECONDS, Home, TrialError, empty_home, prove

TOKEN_VARIABLE = "PORTKEY_MCP_TOKEN"
# Of the names under which the clients have the server: one that they start, and one that runs already.
STARTED, RUNNING = "portkey", "portkey-http"


def trial(binary: pathlib.Path, modules: pathlib.Path) -> None:
    """Sets up each client in an empty home, and asks it about its servers."""
    with empty_home("node") as home, _serving(home, binary) as (url, token):
        for client, connected in (("claude-code", _claude), ("codex", _codex), ("gemini", _gemini)):
            home.run(binary, "setup", client, "--sandbox", "--yes")
            running = ("--name", RUNNING, "--url", url, "--token", "reference")
            home.run(binary, "setup", client, *running, "--yes")
            _connects(home, client, connected, modules, token)
            again = home.run(binary, "setup", client, *running, "--yes").stdout
            prove(f"setup {client}: changes nothing the second time", again.startswith("nothing to change"), again)
    with empty_home("node") as home:
        _claude_project(home, binary, modules)


def _connects(
    home: Home, client: str, connected: Callable[[Home, pathlib.Path, str], str], modules: pathlib.Path, token: str
) -> None:
    start = time.monotonic()
    shown = connected(home, modules, token)
    took = time.monotonic() - start
    for name, way in ((STARTED, "stdio"), (RUNNING, "HTTP with a token")):
        line = next((line for line in shown.splitlines() if f"{name}:" in line), "")
        prove(f"setup {client}: connects by {way}", line.endswith("Connected"), shown)
    print(f"     {client} takes {took:.1f} s")


def _claude(home: Home, modules: pathlib.Path, token: str) -> str:
    # Its command is put in place by a script of the package, and this file starts the same program without it.
    wrapper = modules / "@anthropic-ai" / "claude-code" / "cli-wrapper.cjs"
    return home.run("node", wrapper, "mcp", "list", **{TOKEN_VARIABLE: token}).stdout


def _claude_project(home: Home, binary: pathlib.Path, modules: pathlib.Path) -> None:
    """The file of a project names a policy from the folder of the project, which Claude Code knows."""
    (home.folder / "policy.yaml").write_text(home.run(binary, "policy", "init", "--preset", "careful").stdout)
    name = "portkey-project"
    home.run(binary, "setup", "claude-code", "--project", "--name", name, "--sandbox", "--policy", "policy.yaml", "--yes")
    text = (home.folder / ".mcp.json").read_text()
    prove("setup claude-code --project: names no folder of this machine", str(home.folder) not in text, text)
    # The file starts the program by name.
    (home.folder / ".tools" / "portkey-mcp").symlink_to(binary)
    # Otherwise it waits for an answer of its user.
    settings = home.folder / ".claude" / "settings.local.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"enabledMcpjsonServers": [name]}))
    trusted = {"projects": {str(home.folder): {"hasTrustDialogAccepted": True}}}
    (home.folder / ".claude.json").write_text(json.dumps(trusted))
    shown = _claude(home, modules, "")
    line = next((line for line in shown.splitlines() if f"{name}:" in line), "")
    prove("setup claude-code --project: connects", line.endswith("Connected") and "Missing" not in shown, shown)


def _gemini(home: Home, modules: pathlib.Path, token: str) -> str:
    # In other folders it starts no servers.
    trusted = home.folder / ".gemini" / "trustedFolders.json"
    trusted.write_text(json.dumps({str(home.folder): "TRUST_FOLDER"}))
    done = home.run(modules / ".bin" / "gemini", "mcp", "list", **{TOKEN_VARIABLE: token})
    return "\n".join(line.replace(" (stdio)", "").replace(" (http)", "") for line in (done.stdout + done.stderr).splitlines())


def _codex(home: Home, modules: pathlib.Path, token: str) -> str:
    """Asks the server of its interfaces, because `codex mcp list` does not connect."""
    listed = home.run(modules / ".bin" / "codex", "mcp", "list", **{TOKEN_VARIABLE: token}).stdout
    prove("setup codex: is listed", all(name in listed for name in (STARTED, RUNNING)), listed)
    client = {"name": "trial", "title": "trial", "version": "1"}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"clientInfo": client}},
        {"jsonrpc": "2.0", "method": "initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "mcpServerStatus/list", "params": {}},
    ]
    with subprocess.Popen(
        [str(modules / ".bin" / "codex"), "app-server"],
        cwd=home.folder,
        env=home.environment | {TOKEN_VARIABLE: token},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        for message in messages:
            server.stdin.write(json.dumps(message) + "\n")
        server.stdin.flush()
        end = time.monotonic() + TIMEOUT_SECONDS
        answer = {}
        for line in server.stdout:
            answer = json.loads(line)
            if answer.get("id") == 2 or time.monotonic() > end:
                break
        server.kill()
    found = {item["name"]: item["tools"] for item in answer.get("result", {}).get("data", [])}
    return "\n".join(f"{name}: {'Connected' if tools else 'Failed'}" for name, tools in found.items())


@contextlib.contextmanager
def _serving(home: Home, binary: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Runs a server that wants a token."""
    new = ("token", "new", "--name", "trial", "--scope", "portkey:read", "--file", "tokens.toml")
    token = home.run(binary, *new).stdout.strip()
    server = ("http", "--sandbox", "--auth", "token", "--auth-file", "tokens.toml", "--listen", "127.0.0.1:0")
    with subprocess.Popen(
        [str(binary), *server],
        cwd=home.folder,
        env=home.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            line = next((line for line in process.stderr if "/mcp" in line), "")
            if not line:
                raise TrialError("the server with tokens does not start")
            yield line.split()[-1], token
        finally:
            process.terminate()

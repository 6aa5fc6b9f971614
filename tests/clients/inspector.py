"""The MCP Inspector's command line against the server: both transports, both protocol generations, with
and without a token."""

import json
import pathlib
import subprocess
import tempfile

from harness import PATIENCE, environment, finish, listening, node, program, prove, run, token

INSPECTOR = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
# What it calls the generations.
ERAS = {"legacy": "2025-11-25", "modern": "2026-07-28"}
SLUG = "openai-production"


def main() -> None:
    printed = [tool["name"] for tool in json.loads(run("tools", "--format", "json", "--sandbox"))]
    http = ("http", "--sandbox", "--listen", "127.0.0.1:0", "--log-level", "info")
    for era, version in ERAS.items():
        stdio = (program(), "stdio", "--sandbox", "--log-level", "error")
        exercise(f"stdio {version}", era, printed, *stdio)
    with listening(*http) as url:
        for era, version in ERAS.items():
            exercise(f"http {version}", era, printed, url)
    with token() as (secret, file), listening(*http, "--auth", "token", "--auth-file", file) as url:
        header = ("--header", f"Authorization: Bearer {secret}")
        for era, version in ERAS.items():
            exercise(f"http with a token {version}", era, printed, url, *header)
            done = inspect(era, "tools/list", url)
            told = done.stdout + done.stderr
            prove(f"http without its token {version}: is told so", "auth_required" in told, done)


def exercise(title: str, era: str, printed: list[str], *server: str) -> None:
    # It ends with an error if a schema is one that some clients cannot take.
    listed = inspect(era, "tools/list", *server, "--strict")
    told = listed.stderr
    prove(f"{title}: finds nothing wrong with any schema", listed.returncode == 0, told)
    names = [tool["name"] for tool in json.loads(listed.stdout)["tools"]]
    prove(f"{title}: lists {len(names)} tools, those there are", names == printed, names)
    tool = ("--tool-name", "get-integration", "--tool-arg")
    called = inspect(era, "tools/call", *server, *tool, f"slug={SLUG}")
    prove(f"{title}: calls one", called.returncode == 0, called)
    got = json.loads(called.stdout)["structuredContent"]
    prove(f"{title}: gets what it asked for", got["slug"] == SLUG, got)
    wrong = inspect(era, "tools/call", *server, *tool, "slug=no-such-thing")
    told = wrong.stdout + wrong.stderr
    prove(f"{title}: is told of a mistake", "404" in told and "no-such-thing" in told, wrong)


def inspect(era: str, method: str, *more: str) -> subprocess.CompletedProcess[str]:
    """One run of the Inspector, with a home of its own, where it finds and leaves nothing."""
    here = pathlib.Path(__file__).parent
    command = [node(), str(here / INSPECTOR), "--cli", *more, "--method", method]
    command += ["--protocol-era", era, "--stored-auth-only"]
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run(
            command,
            env=environment(HOME=home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )


if __name__ == "__main__":
    try:
        main()
    except Exception as failure:
        finish(failure)

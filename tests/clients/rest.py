"""What the clients of the REST face share: the server in front of the sandbox, its policy and its audit
log."""

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Iterable, Iterator

from harness import Unproven, listening, prove, run, token

# What a denied client is told.
MESSAGE = "Deletions go through the platform team"

POLICY = f"""\
version: "1"
rules:
  - name: no deletions
    action: deny
    match: {{ effects: [delete] }}
    on_deny: {MESSAGE}
"""


@contextlib.contextmanager
def face(*arguments: str) -> Iterator[tuple[str, str]]:
    """Yields the address of the API and a key for it."""
    http = ("http", "--sandbox", "--rest", "--listen", "127.0.0.1:0", "--log-level", "info")
    with token() as (key, file):
        with listening(*http, "--auth", "token", "--auth-file", file, *arguments) as url:
            yield url.removesuffix("/mcp") + "/v1", key


@contextlib.contextmanager
def denying_face() -> Iterator[tuple[str, str, list[dict]]]:
    """Yields a face whose policy denies deletions, and a list that then has its audit entries."""
    with tempfile.TemporaryDirectory() as folder:
        policy, log = pathlib.Path(folder, "policy.yaml"), pathlib.Path(folder, "audit.jsonl")
        policy.write_text(POLICY)
        audited: list[dict] = []
        with face("--policy", str(policy), "--audit-log", str(log)) as (url, key):
            yield url, key, audited
        audited += entries(str(log))


def entries(log: str) -> list[dict]:
    """Reads an audit log whose hashes hold and whose calls all came by REST."""
    run("audit", "verify", log)
    found = [json.loads(line) for line in pathlib.Path(log).read_text().splitlines()]
    found = [entry for entry in found if "tool" in entry]
    transports = {entry["transport"] for entry in found}
    if transports != {"rest"}:
        raise Unproven(f"calls came by {transports}")
    return found


def prove_denied(audited: list[dict], tools: Iterable[str]) -> None:
    """Checks that the audit log has each denied call with its rule, those of these tools among them."""
    denied = [entry for entry in audited if entry["effect"] == "delete"]
    found = {(entry["outcome"], entry.get("rule")) for entry in denied}
    holds = found == {("forbidden", "no deletions")} and {entry["tool"] for entry in denied} >= set(tools)
    prove(f"the audit log has the {len(denied)} denied deletions, with their rule", holds, found)

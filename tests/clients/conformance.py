"""The official conformance suite against the server, in both protocol generations.

Twice: against the fixtures of `examples/conformance` on the product's own stack, where both sets of
requirements have to pass whole, and against the release binary as it is, for what needs no fixtures.
What came of it has to be what the document says; `UPDATE=1` rewrites that.

usage: conformance.py PORTKEY_MCP FIXTURES DOCUMENT
"""

import difflib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

from harness import Unproven, environment, finish, listening, node, prove, token

SUITE = pathlib.Path(__file__).parent / "node_modules/@modelcontextprotocol/conformance"
# Longer than a set takes on a busy machine.
PATIENCE = 300.0
REVISIONS = ("2025-11-25", "2026-07-28")

# What judges a server that has no fixtures. Other scenarios call tools and prompts of certain names, or
# pass without having looked at anything.
BARE = {
    "2025-11-25": (
        "server-initialize",
        "ping",
        "tools-list",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
        "server-session-lifecycle",
    ),
    "2026-07-28": (
        "server-stateless",
        "tools-list",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
        "input-required-result-unsupported-methods",
        "http-header-validation",
    ),
}

# What the release binary is started with.
SHIPPED = ("--sandbox", "--listen", "127.0.0.1:0")
# With authentication there are limits, and the suite asks more often than they let anyone.
FIXTURES = (*SHIPPED, "--auth", "token", "--rate-limit", "none", "--address-rate-limit", "none")

# An optional extension that the server does not offer.
TASKS = "tasks-"


@dataclass
class Outcome:
    """What came of one scenario."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    untestable: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def open(self) -> bool:
        """Whether something is left to be shown."""
        return bool(self.untestable or self.warned)

    def row(self) -> tuple[str, str]:
        """The checks that passed, and what is to be said besides."""
        notes = [f"warns: `{check}`" for check in self.warned]
        notes += [f"cannot tell: `{check}`" for check in self.untestable]
        return str(self.passed), "; ".join(["passes", *notes])


@dataclass
class Verdict:
    """What came of a set of requirements."""

    scenarios: dict[str, Outcome]
    # Those that do not count.
    optional: set[str]
    said: str
    satisfied: bool


def judge(url: str, revision: str, results: pathlib.Path) -> Verdict:
    command = [node(), str(SUITE / "dist/index.js"), "server", "--url", url]
    command += ["--requirements", revision, "--output-dir", str(results)]
    run = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=PATIENCE
    )
    optional = set(re.findall(r"^  [✓✗] (\S+) \(", run.stdout, re.MULTILINE))
    scenarios = {}
    # Several are written within one tick of the clock, so their times give no order.
    for folder in sorted(results.iterdir()):
        name = re.sub(r"^server-(.+)-\d{4}-\d\d-\d\dT.*$", r"\1", folder.name)
        scenarios[name] = read(json.loads((folder / "checks.json").read_text()))
    return Verdict(scenarios, optional, run.stdout + run.stderr, run.returncode == 0)


def read(checks: list[dict]) -> Outcome:
    outcome = Outcome()
    for check in checks:
        status, name = check["status"], check["id"]
        why = check.get("errorMessage") or ""
        if status == "SUCCESS":
            outcome.passed += 1
        elif status in ("FAILURE", "WARNING") and why.startswith("Not testable"):
            outcome.untestable.append(name)
        elif status == "WARNING":
            outcome.warned.append(name)
        elif status == "FAILURE":
            outcome.failed.append(f"{name}: {why}")
    return outcome


def table(heads: list[str], rows: list[tuple[str, ...]]) -> str:
    aligned = ["---:" if head == "Checks" else "---" for head in heads]
    lines = [heads, aligned, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_shipped(work: pathlib.Path) -> tuple[str, dict[str, set[str]]]:
    """The release binary, for what needs no fixtures; and of what it shows only a part."""
    text, partly = "", {}
    with listening("http", *SHIPPED) as url:
        for revision in REVISIONS:
            verdict = judge(url, revision, work / "shipped" / revision)
            outcomes = {name: verdict.scenarios[name] for name in BARE[revision]}
            failed = [f"{name}: {outcome.failed}" for name, outcome in outcomes.items() if outcome.failed]
            passed = sum(outcome.passed for outcome in outcomes.values())
            what = f"{revision} as shipped: {len(outcomes)} scenarios pass, {passed} checks"
            prove(what, not failed, failed)
            partly[revision] = {name for name, outcome in outcomes.items() if outcome.open()}
            rows = [(f"`{name}`", *outcome.row()) for name, outcome in outcomes.items()]
            text += f"\n### {revision}\n\n{passed} checks pass, none fails.\n\n"
            text += table(["Scenario", "Checks", "Result"], rows)
    return text, partly


def with_fixtures(fixtures: str, partly: dict[str, set[str]], work: pathlib.Path) -> str:
    """Both sets on the product's stack with fixtures, behind authentication."""
    text = ""
    with (
        token() as (secret, file),
        listening(*FIXTURES, "--auth-file", file, of=fixtures, CONFORMANCE_TOKEN=secret) as url,
    ):
        for revision in REVISIONS:
            verdict = judge(url, revision, work / "fixtures" / revision)
            rows, passed, counting = [], 0, 0
            for name, outcome in verdict.scenarios.items():
                counts = name not in verdict.optional
                if not counts and name.startswith(TASKS):
                    continue
                whole = not outcome.failed and not outcome.untestable
                if not whole:
                    print(verdict.said)
                prove(f"{revision} with fixtures: {name}", whole, outcome)
                counting += counts
                passed += outcome.passed if counts else 0
                bare = "in part" if name in partly[revision] else ""
                needed = bare if name in BARE[revision] else "yes"
                rows.append((f"`{name}`", needed, "yes" if counts else "", *outcome.row()))
            what = f"{revision} with fixtures: {counting} scenarios pass, {passed} checks"
            prove(what, verdict.satisfied, verdict.said)
            text += f"\n### {revision}\n\n"
            text += f"All {counting} scenarios that count pass, with {passed} checks.\n\n"
            text += table(["Scenario", "Fixtures", "Counts", "Checks", "Result"], rows)
    return text


DOCUMENT = """\
# Conformance

This page lists the results of the [official conformance suite](https://github.com/modelcontextprotocol/conformance)
of the Model Context Protocol, version {version}, for this server. To write it again:

```sh
UPDATE=1 .ci/run
```

- `.ci/run` runs the suite and fails if a result differs from this page.
- `tests/clients/conformance.py` writes the page.
- **Counts:** a scenario counts if it is in the suite's frozen set of requirements for that revision. Other scenarios
  are optional or newer than the set.
- **Limits:** the scenarios of the Tasks extension are left out, because the server does not offer it.

## With fixtures

Most scenarios call tools, prompts and resources of certain names. `examples/conformance` adds such fixtures to the
server's own handler. It serves them with the server's own router, limits and authentication, and every request has a
bearer token of the token file.

- **Expected failures:** there is no list of them.
- **Fixtures:** "yes" if the scenario uses fixtures, "in part" if only some checks do, and empty if none does.
- **Options:** these and no others:

```text
{fixture_options} --auth-file FILE
```
{fixtures}
## The release binary

These are the scenarios that need no fixtures. The binary runs with these options and no others:

```sh
portkey-mcp http {shipped_options}
```

- **"Cannot tell"** marks a check that needs a fixture. It passes in the table above.
- **The warning** is about a change that only a fixture causes. It is absent in the table above.
{shipped}"""


def main() -> None:
    _, _, fixtures, document = sys.argv
    version = json.loads((SUITE / "package.json").read_text())["version"]
    with tempfile.TemporaryDirectory() as work:
        shipped, partly = as_shipped(pathlib.Path(work))
        layered = with_fixtures(fixtures, partly, pathlib.Path(work))
    fresh = DOCUMENT.format(
        version=version,
        fixtures=layered,
        shipped=shipped,
        fixture_options=" ".join(FIXTURES),
        shipped_options=" ".join(SHIPPED),
    )
    document = pathlib.Path(document)
    if os.environ.get("UPDATE"):
        document.write_text(fresh)
    stale = document.read_text() if document.exists() else ""
    if stale != fresh:
        print(*difflib.unified_diff(stale.splitlines(), fresh.splitlines(), lineterm=""), sep="\n")
    prove(f"{document} says so; if it does not, set UPDATE=1 and read the diff", stale == fresh)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main()
    except Exception as failure:
        finish(failure)

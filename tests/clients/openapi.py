"""The OpenAPI document of the REST face: Spectral finds nothing wrong with it, and schemathesis finds no
answer that it does not describe."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

import rest
from harness import PATIENCE, Unproven, environment, finish, node, prove

SPECTRAL = "node_modules/@stoplight/spectral-cli/dist/index.js"
# By variant: the arguments of the face.
VARIANTS = {
    "by default": (),
    "with preview operations": ("--preview",),
    "without writes, below a prefix": ("--read-only", "--path-prefix", "/portkey"),
}
# Far longer than its tests take, which are bounded in number.
TEST_PATIENCE = 180


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for number, (variant, arguments) in enumerate(VARIANTS.items()):
            with rest.face(*arguments) as (url, key):
                document = fetch(url.removesuffix("/v1") + "/openapi.json", key)
            operations = sum(len(methods) for methods in document["paths"].values())
            prove(f"{variant}: the document describes {operations} operations", operations > 50)
            (work / f"{number}.json").write_text(json.dumps(document, indent=1))
        lint(work)
        with rest.face("--rate-limit", "none", "--address-rate-limit", "none") as (url, key):
            test(work, url.removesuffix("/v1"), key)


def fetch(url: str, key: str) -> dict:
    request = urllib.request.Request(url, headers={"x-portkey-api-key": key})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return json.load(response)


def lint(work: pathlib.Path) -> None:
    """Lints the documents. Hints are findings as well."""
    rules = work / "spectral.yaml"
    rules.write_text('extends: ["spectral:oas"]\n')
    here = pathlib.Path(__file__).parent
    command = [node(), str(here / SPECTRAL), "lint", "--ruleset", str(rules), "--fail-severity", "hint"]
    documents = sorted(str(document) for document in work.glob("*.json"))
    done = run(command + documents, work, PATIENCE)
    prove("Spectral (spectral:oas) has no finding", done.returncode == 0, done.stdout + done.stderr)


def test(work: pathlib.Path, url: str, key: str) -> None:
    """Sends the requests that schemathesis makes of the document, the same ones in each run."""
    test_with(work, url, key, "--mode", "positive", "--phases", "coverage,fuzzing", "--max-examples", "2")
    test_with(work, url, key, "--mode", "negative", "--phases", "fuzzing", "--max-examples", "3")


def test_with(work: pathlib.Path, url: str, key: str, *arguments: str) -> None:
    """Runs schemathesis with arguments that say which requests it makes."""
    command = [
        str(pathlib.Path(sys.executable).with_name("schemathesis")),
        *("run", str(work / "0.json"), "--url", url, "--header", f"Authorization: Bearer {key}"),
        *("--generation-deterministic", *arguments),
        # The other operations of analytics have the same thirty parameters as these.
        *("--exclude-path-regex", "^/v1/analytics/(graphs/(?!cost$)|groups/(?!users$)|summary/(?!cache$))"),
        # The key above is the one.
        *("--generation-with-security-parameters", "false"),
        # Whether Portkey takes a request does not follow from its form alone, and the face takes what Portkey does.
        *("--exclude-checks", "positive_data_acceptance,negative_data_rejection"),
        *("--suppress-health-check", "all", "--request-timeout", "10", "--warnings", "off", "--no-color"),
    ]
    done = run(command, work, TEST_PATIENCE)
    count = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    passed = done.returncode == 0 and count is not None and count[1] == count[2]
    found = done.stdout[-20_000:] + done.stderr[-2_000:]
    if not passed:
        raise Unproven(f"schemathesis {' '.join(arguments)} found:\n{found}")
    prove(f"schemathesis ({arguments[1]}): {count[1]} answers are described, none is a server error", int(count[1]) > 400)


def run(command: list[str], folder: pathlib.Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder where it may leave files."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


if __name__ == "__main__":
    try:
        main()
    except Exception as failure:
        finish(failure)

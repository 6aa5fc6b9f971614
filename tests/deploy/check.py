#!/usr/bin/env python3
"""Checks the files under deploy/: the chart by Helm's library, its output and the manifests against the schemas of
Kubernetes, Compose against its own, and the unit by systemd where it is installed.

    tests/deploy/check.py
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import helm_python
import kubernetes_validate
import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
CHART = DEPLOY / "helm" / "portkey-mcp"

CONSOLE_BY_OAUTH = {
    "auth": {"mode": "oauth"},
    "console": {"auth": "oauth", "url": "https://approvals.example.com"},
    "networkPolicy": {"consoleNamespaces": ["oauth2-proxy"]},
}
# Values that have to render.
VALID = {
    "defaults": {},
    "all that is optional": CONSOLE_BY_OAUTH
    | {
        "approvals": {"deletes": True, "byName": True},
        "audit": {"existingSecret": "audit"},
        "ingress": {"enabled": True, "host": "mcp.example.com", "tlsSecret": "tls"},
        "journal": {"existingSecret": "journal"},
        "metrics": {"serviceMonitor": {"enabled": True}},
        "portkeyKeys": {"existingSecret": "keys"},
        "rest": {"enabled": True, "port": 8080},
        "tls": {"existingSecret": "tls"},
    },
    "one replica without anything": {
        "approvals": {"sensitive": False},
        "audit": {"enabled": False},
        "auth": {"mode": "key"},
        "autoscaling": {"enabled": False},
        "console": {"enabled": False},
        "metrics": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "redis": {"existingSecret": ""},
        "replicaCount": 1,
        "state": {"existingSecret": ""},
    },
}
# Values that must not, and a part of the message.
INVALID = (
    ({"console": {"auth": "oauth"}}, "console.auth"),
    (CONSOLE_BY_OAUTH | {"console": {"auth": "oauth"}}, "console.url"),
    (CONSOLE_BY_OAUTH | {"networkPolicy": {}}, "consoleNamespaces"),
    ({"console": {"port": 9090}}, "console.port"),
    ({"rest": {"enabled": True, "port": 8789}}, "rest.port"),
    ({"audit": {"enabled": False, "existingSecret": "audit"}}, "audit.existingSecret"),
    ({"approvals": {"sensitive": False, "byName": True}}, "approvals.byName"),
    ({"settings": {"PORTKEY_MCP_APPROVE_DELETES": "true"}}, "PORTKEY_MCP_APPROVE_DELETES"),
    ({"settings": {"PORTKEY_MCP_REDIS_URL": "redis://x"}}, "PORTKEY_MCP_REDIS_URL"),
    ({"redis": {"existingSecret": ""}}, "several replicas"),
)
# It belongs to the Prometheus Operator.
UNKNOWN_KINDS = {"ServiceMonitor", "Kustomization"}


def main() -> None:
    report = helm_python.lint(CHART, strict=True)
    faults = [message for message in report["messages"] if message["severity"] > 1]
    prove("chart: Helm has nothing to say", not faults and not report["errors"], report)
    chart = helm_python.Chart.load(CHART)
    for name, values in VALID.items():
        files = chart.render(values, name="release", namespace="portkey-mcp")
        texts = [text for file, text in files.items() if file.endswith(".yaml")]
        kinds = [kind for text in texts for kind in validate(text)]
        prove(f"chart with {name}: {len(kinds)} valid objects", "Deployment" in kinds, kinds)
    for values, part in INVALID:
        try:
            chart.render(values)
        except helm_python.HelmError as error:
            prove(f"chart: rejects {part}", part in str(error), error)
        else:
            prove(f"chart: rejects {part}", False, values)
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        prove(f"kubernetes/{file.name}: is valid", bool(validate(file.read_text())), "nothing in it")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    for file in sorted(DEPLOY.glob("compose*.yaml")):
        run(f"{file.name}: is valid", *command, str(file))
    if shutil.which("systemd-analyze") is None:
        print("     systemd is not installed, so the unit is not checked")
        return
    unit = DEPLOY / "systemd" / "portkey-mcp.service"
    with tempfile.TemporaryDirectory() as folder:
        # The program need not be installed.
        copy = pathlib.Path(folder) / unit.name
        copy.write_text(unit.read_text().replace("/usr/local/bin/portkey-mcp", "/bin/true"))
        run("systemd: the unit is valid", "systemd-analyze", "verify", "--man=no", str(copy))


def validate(text: str) -> list[str]:
    """Validates the objects of a text, and returns their kinds."""
    objects = [each for each in yaml.safe_load_all(text) if each]
    for each in objects:
        if each["kind"] not in UNKNOWN_KINDS:
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
    return [each["kind"] for each in objects]


def run(what: str, *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    shown = done.stdout + done.stderr
    prove(what, done.returncode == 0, shown)


def prove(what: str, holds: bool, shown: object) -> None:
    """Reports that something is as it should be, or ends the check."""
    if not holds:
        sys.exit(f"FAILED: {what}\n{shown}")
    print(f"ok   {what}")


if __name__ == "__main__":
    main()

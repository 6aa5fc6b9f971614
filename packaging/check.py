#!/usr/bin/env python3
"""Checks that every manifest has the version of Cargo.toml, and that generated files are up to date.

    packaging/check.py                              what every change has to pass
    packaging/check.py --release OWNER/NAME TAG     what a release has to pass besides
"""

import argparse
import base64
import json
import pathlib
import re
import sys
import tempfile
import tomllib
import urllib.parse

sys.dont_write_bytecode = True

from artefacts import clients, mcpb, npm, registry, settings, versions
from artefacts.project import NAME, REPOSITORY, ROOT, VERSION
from artefacts.targets import TARGETS
from trials.home import TrialError, prove

# As docs/clients has it for clients that put every tool before their model.
STARTED = ["-y", "portkey-mcp", "stdio", "--surface", "compact"]


def check_versions() -> None:
    """Every file that names the version names that of Cargo.toml."""
    for file in versions.DEPLOYED:
        found = versions.named(file)
        prove(f"{file} has version {VERSION}", bool(found) and set(found) == {VERSION}, found)
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    found = {package["name"]: package["version"] for package in locked}[NAME]
    prove(f"Cargo.lock has version {VERSION}", found == VERSION, found)
    launcher = npm.launcher_manifest()
    carried = {launcher["version"], *launcher["optionalDependencies"].values()}
    carried |= {npm.platform_manifest(target)["version"] for target in TARGETS}
    carried |= {mcpb.manifest(platform)["version"] for platform in mcpb.PLATFORMS}
    carried |= {clients.plugin()["version"], clients.extension()["version"]}
    carried |= {plugin["version"] for plugin in clients.marketplace()["plugins"]}
    prove(f"generated manifests have version {VERSION}", carried == {VERSION}, carried)


def check_committed() -> None:
    """The files that clients read from the repository are those that would be generated."""
    for file, text in clients.committed().items():
        name = file.relative_to(ROOT)
        same = file.exists() and file.read_text() == text
        prove(f"{name} is up to date", same, "`packaging/build.py manifests` writes it")


def check_links() -> None:
    """Each link decodes to the configuration that the client must store."""
    for sandbox in (True, False):
        title = "on the sandbox" if sandbox else "with a key"
        query = _query(clients.cursor_link(sandbox))
        stored = json.loads(base64.b64decode(query["config"], validate=True))
        expected = _stored(sandbox, "env:PORTKEY_API_KEY")
        prove(f"Cursor's link {title}: decodes", query["name"] == "portkey" and stored == expected, stored)
        query = _query(clients.vscode_link(sandbox))
        stored = json.loads(query["config"])
        expected = {"type": "stdio"} | _stored(sandbox, "input:portkey-key")
        prove(f"VS Code's link {title}: decodes", query["name"] == "portkey" and stored == expected, stored)
        asked = json.loads(query.get("inputs", "[]"))
        if sandbox:
            prove("VS Code's link on the sandbox: asks for nothing", asked == [], asked)
        else:
            hidden = [field["id"] for field in asked if field["password"]]
            prove("VS Code's link with a key: asks for the key, hidden", hidden == ["portkey-key"], asked)
    codex = tomllib.loads(clients.codex_configuration())["mcp_servers"]["portkey"]
    prove("Codex' configuration: starts the server", codex["args"] == STARTED, codex)
    extension = clients.extension()
    args = extension["mcpServers"]["portkey"]["args"]
    prove("Gemini's extension: starts the compact surface", args[2:] == STARTED[2:], args)
    asked = [field["envVar"] for field in extension["settings"]]
    prove("Gemini's extension: asks for nothing that it sets", "PORTKEY_MCP_SURFACE" not in asked, asked)
    surfaces = {mcpb.manifest(platform)["user_config"]["surface"]["default"] for platform in mcpb.PLATFORMS}
    prove("MCPB: Claude Desktop gets the compact surface", surfaces == {"compact"}, surfaces)


def _stored(sandbox: bool, key: str) -> dict:
    if sandbox:
        return {"command": "npx", "args": [*STARTED, "--sandbox"]}
    return {
        "command": "npx",
        "args": STARTED,
        "env": {"PORTKEY_API_KEY": f"${{{key}}}"},
    }


def _query(link: str) -> dict[str, str]:
    fields = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query, strict_parsing=True)
    return {name: values[0] for name, values in fields.items()}


def check_variables() -> None:
    """Each variable that a form sets is one that the server documents."""
    documented = (ROOT / "docs" / "options.md").read_text()
    unknown = [each.variable for each in settings.SETTINGS if f"`{each.variable}`" not in documented]
    prove("forms set only variables of docs/options.md", not unknown, unknown)


def check_registry_entry() -> None:
    """The rules of the registry that a schema has, and those that it has not."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for platform in mcpb.PLATFORMS:
            (folder / mcpb.file_name(platform)).write_bytes(platform.encode())
        entry = registry.entry(folder)
    kinds = [package["registryType"] for package in entry["packages"]]
    prove("server.json: has every kind of package", kinds == ["npm", "pypi", "oci", "mcpb", "mcpb", "mcpb"], kinds)
    prove("server.json: has a short description", 0 < len(entry["description"]) <= 100, entry["description"])
    named = re.fullmatch(r"[\w.-]+/[\w.-]+", entry["name"]) is not None
    prove("server.json: has a name with a namespace", named, entry["name"])
    for package in entry["packages"]:
        kind, version = package["registryType"], package.get("version")
        right = version == VERSION if kind in ("npm", "pypi") else version is None
        right = right and (kind != "mcpb" or re.fullmatch("[0-9a-f]{64}", package["fileSha256"]) is not None)
        right = right and (kind == "npm" or kind == "pypi" or VERSION in package["identifier"])
        prove(f"server.json: {package['identifier']} has this version", right, package)
    secret = [field["name"] for field in entry["packages"][0]["environmentVariables"] if field.get("isSecret")]
    prove("server.json: marks the key as secret", secret == ["PORTKEY_API_KEY"], secret)
    prove("npm: names the entry that it belongs to", npm.launcher_manifest()["mcpName"] == entry["name"])


def check_release(repository: str, tag: str) -> None:
    """The tag, the account and the changelog are those of this version."""
    prove(f"the tag {tag} is that of version {VERSION}", tag == f"v{VERSION}")
    expected = f"https://github.com/{repository}"
    prove(f"`repository` in Cargo.toml is {expected}", expected == REPOSITORY, REPOSITORY)
    changelog = (ROOT / "CHANGELOG.md").read_text()
    prove(f"CHANGELOG.md has version {VERSION}", f"\n## [{VERSION}]" in changelog)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", nargs=2, metavar=("OWNER/NAME", "TAG"))
    options = parser.parse_args()
    check_versions()
    check_committed()
    check_links()
    check_variables()
    check_registry_entry()
    if options.release:
        check_release(*options.release)


if __name__ == "__main__":
    try:
        main()
    except TrialError as error:
        sys.exit(f"FAILED: {error}")

"""`server.json`, the entry in the registry of MCP servers: every package of a release, and servers of operators."""

import json
import pathlib

from . import mcpb, settings
from .pack import sha256
from .project import DESCRIPTION, IMAGE, NAME, REGISTRY_NAME, REPOSITORY, TITLE, VERSION, download_url

SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"


def _variables() -> list[dict]:
    variables = []
    for setting in settings.SETTINGS:
        variable: dict = {"name": setting.variable, "description": setting.description, "format": setting.kind}
        if setting.sensitive:
            variable["isSecret"] = True
        elif setting.default != "":
            variable["default"] = str(setting.default).lower() if setting.kind == "boolean" else setting.default
        variables.append(variable)
    return variables


def _package(kind: str, identifier: str, **more: object) -> dict:
    package = {"registryType": kind, "identifier": identifier, **more, "transport": {"type": "stdio"}}
    # A bundle starts the server by its own manifest.
    if kind != "mcpb":
        package["packageArguments"] = [{"type": "positional", "value": "stdio"}]
        package["environmentVariables"] = _variables()
    return package


def _remote() -> dict:
    token = {"description": "A token, made by `portkey-mcp token new`.", "isRequired": True, "isSecret": True}
    return {
        "type": "streamable-http",
        "url": "https://{host}/mcp",
        "variables": {"host": {"description": "Host name of your own server.", "isRequired": True}},
        "headers": [{"name": "Authorization", "value": "Bearer {token}", "variables": {"token": token}}],
    }


def entry(folder: pathlib.Path) -> dict:
    """Returns the entry, with the bundles of a folder."""
    packages = [
        _package("npm", NAME, version=VERSION, runtimeHint="npx"),
        _package("pypi", NAME, version=VERSION, runtimeHint="uvx"),
        _package("oci", f"{IMAGE}:{VERSION}", runtimeHint="docker"),
    ]
    for platform in mcpb.PLATFORMS:
        bundle = folder / mcpb.file_name(platform)
        if bundle.exists():
            packages.append(_package("mcpb", download_url(bundle.name), fileSha256=sha256(bundle)))
    return {
        "$schema": SCHEMA,
        "name": REGISTRY_NAME,
        "title": TITLE,
        "description": DESCRIPTION,
        "repository": {"url": REPOSITORY, "source": "github"},
        "version": VERSION,
        "packages": packages,
        "remotes": [_remote()],
    }


def write_entry(folder: pathlib.Path) -> pathlib.Path:
    """Writes the entry, after the bundles."""
    file = folder / "server.json"
    file.write_text(json.dumps(entry(folder), indent=2) + "\n")
    return file

"""Packages of npm: one with the launcher, and for each platform one with the binary. npm installs the one that fits."""

import json
import pathlib

from .pack import Entry, write_tar
from .project import AUTHOR, DESCRIPTION, KEYWORDS, LICENSE, NAME, PACKAGING, REGISTRY_NAME, REPOSITORY, ROOT, VERSION
from .targets import TARGETS, Target

LAUNCHER = PACKAGING / "npm" / "launcher.js"


def _common(name: str, description: str) -> dict:
    return {
        "name": name,
        "version": VERSION,
        "description": description,
        "license": LICENSE,
        "author": AUTHOR,
        "repository": {"type": "git", "url": f"git+{REPOSITORY}.git"},
    }


def platform_manifest(target: Target) -> dict:
    """Returns the package.json of a platform."""
    manifest = _common(target.npm_name, f"The {target.triple} binary of {NAME}. Install {NAME} instead.")
    manifest |= {"os": [target.node_platform], "cpu": [target.node_arch]}
    if target.libc is not None:
        manifest["libc"] = [target.libc]
    # Without it, Yarn may keep packages zipped, where nothing can be executed.
    return manifest | {"preferUnplugged": True, "files": ["bin"]}


def launcher_manifest() -> dict:
    """Returns the package.json that users name."""
    return _common(NAME, DESCRIPTION) | {
        "keywords": KEYWORDS,
        # The registry of MCP servers proves by it that both have the same owner.
        "mcpName": REGISTRY_NAME,
        "bin": {NAME: "bin/portkey-mcp.js"},
        "files": ["bin"],
        "engines": {"node": ">=18"},
        "optionalDependencies": {target.npm_name: VERSION for target in TARGETS},
    }


def _write(folder: pathlib.Path, manifest: dict, entries: list[Entry]) -> pathlib.Path:
    text = json.dumps(manifest, indent=2) + "\n"
    license_text = Entry.read(ROOT / "LICENSE", "package/LICENSE")
    first = Entry("package/package.json", text.encode())
    return write_tar(folder / f"{manifest['name']}-{VERSION}.tgz", [first, license_text, *entries])


def write_platform(folder: pathlib.Path, target: Target, binary: pathlib.Path) -> pathlib.Path:
    """Writes the package of a platform."""
    executable = Entry.read(binary, f"package/bin/{target.executable}", executable=True)
    return _write(folder, platform_manifest(target), [executable])


def write_launcher(folder: pathlib.Path) -> pathlib.Path:
    """Writes the package that users name."""
    launcher = Entry.read(LAUNCHER, "package/bin/portkey-mcp.js", executable=True)
    readme = Entry.read(PACKAGING / "npm" / "README.md", "package/README.md")
    return _write(folder, launcher_manifest(), [launcher, readme])

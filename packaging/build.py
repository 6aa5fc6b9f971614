#!/usr/bin/env python3
"""Builds the artefacts of a release from binaries that are built already. packaging/README.md describes them.

    packaging/build.py platform TARGET BINARY [--dist DIST]    what contains the binary of a platform
    packaging/build.py bundle PLATFORM BINARY [--dist DIST]    a bundle for Claude Desktop
    packaging/build.py common [--dist DIST]                    what exists once, after those of all platforms
    packaging/build.py manifests                               rewrites the committed files that clients read
"""

import argparse
import pathlib
import sys

sys.dont_write_bytecode = True

from artefacts import clients, mcpb, npm, registry, wheel
from artefacts.project import PACKAGING, ROOT
from artefacts.targets import TARGETS, target

DIST = ROOT / "target" / "dist"


def build_platform(dist: pathlib.Path, triple: str, binary: pathlib.Path) -> list[pathlib.Path]:
    """Builds what contains the binary of a platform, and returns the files."""
    dist.mkdir(parents=True, exist_ok=True)
    platform = target(triple)
    return [npm.write_platform(dist, platform, binary), wheel.write_wheel(dist, platform, binary)]


def build_common(dist: pathlib.Path) -> list[pathlib.Path]:
    """Builds what exists once for all platforms, and returns the files."""
    dist.mkdir(parents=True, exist_ok=True)
    return [npm.write_launcher(dist), registry.write_entry(dist)]


def build_bundle(dist: pathlib.Path, platform: str, binary: pathlib.Path, tools: pathlib.Path) -> pathlib.Path:
    """Builds a bundle for Claude Desktop; `tools` is the folder node_modules with the tool that packs it."""
    dist.mkdir(parents=True, exist_ok=True)
    return mcpb.write_bundle(dist, platform, binary, tools / ".bin" / "mcpb")


def write_manifests() -> list[pathlib.Path]:
    """Rewrites the committed files that clients read, and returns them."""
    for file, text in clients.committed().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return list(clients.committed())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    platform = commands.add_parser("platform", help="what contains the binary of a platform")
    platform.add_argument("target", choices=[each.triple for each in TARGETS], metavar="TARGET")
    bundle = commands.add_parser("bundle", help="a bundle for Claude Desktop")
    bundle.add_argument("platform", choices=mcpb.PLATFORMS)
    bundle.add_argument("--tools", type=pathlib.Path, default=PACKAGING / "tools" / "node_modules")
    common = commands.add_parser("common", help="what exists once, after those of all platforms")
    commands.add_parser("manifests", help="rewrites the committed files that clients read")
    for command in (platform, bundle):
        command.add_argument("binary", type=pathlib.Path, metavar="BINARY")
    for command in (platform, bundle, common):
        command.add_argument("--dist", type=pathlib.Path, default=DIST, help="folder for the files")
    options = parser.parse_args()
    match options.command:
        case "platform":
            files = build_platform(options.dist, options.target, options.binary)
        case "bundle":
            files = [build_bundle(options.dist, options.platform, options.binary, options.tools)]
        case "common":
            files = build_common(options.dist)
        case _:
            files = write_manifests()
    for file in files:
        print(f"{file.stat().st_size:>11,}  {file}")


if __name__ == "__main__":
    main()

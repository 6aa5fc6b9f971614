#!/usr/bin/env python3
"""Builds the artefacts of a release from binaries that are built already. packaging/README.md describes them.

    packaging/build.py files BINARY FOLDER                     man pages and completions, by a binary that runs here
    packaging/build.py platform TARGET BINARY FILES [--dist DIST]    what contains the binary of a platform
    packaging/build.py deb BINARY FILES --cargo-deb PATH [--dist DIST]    the Debian package of this machine
    packaging/build.py bundle PLATFORM BINARY [--dist DIST]    a bundle for Claude Desktop
    packaging/build.py common [--dist DIST]                    what exists once, after those of all platforms
    packaging/build.py manifests                               rewrites committed files that have the version
"""

import argparse
import pathlib
import sys

sys.dont_write_bytecode = True

from artefacts import archive, checksums, clients, deb, files, formula, mcpb, npm, registry, sbom, versions, wheel
from artefacts.project import PACKAGING, ROOT
from artefacts.targets import TARGETS, target

DIST = ROOT / "target" / "dist"


def build_platform(
    dist: pathlib.Path, triple: str, binary: pathlib.Path, beside: pathlib.Path
) -> list[pathlib.Path]:
    """Builds what contains the binary of a platform, with the files beside it, and returns what it built."""
    dist.mkdir(parents=True, exist_ok=True)
    platform = target(triple)
    return [
        archive.write_archive(dist, platform, binary, beside),
        npm.write_platform(dist, platform, binary),
        wheel.write_wheel(dist, platform, binary),
    ]


def build_common(dist: pathlib.Path) -> list[pathlib.Path]:
    """Builds what exists once for all platforms, and returns the files."""
    dist.mkdir(parents=True, exist_ok=True)
    return [
        npm.write_launcher(dist),
        registry.write_entry(dist),
        formula.write_formula(dist),
        sbom.write_bill(dist),
        # Of all others, so the last.
        checksums.write_checksums(dist),
    ]


def build_deb(dist: pathlib.Path, binary: pathlib.Path, beside: pathlib.Path, cargo_deb: str) -> pathlib.Path:
    """Builds the Debian package of this machine."""
    dist.mkdir(parents=True, exist_ok=True)
    return deb.write_deb(dist, binary, beside, cargo_deb)


def build_bundle(dist: pathlib.Path, platform: str, binary: pathlib.Path, tools: pathlib.Path) -> pathlib.Path:
    """Builds a bundle for Claude Desktop; `tools` is the folder node_modules with the tool that packs it."""
    dist.mkdir(parents=True, exist_ok=True)
    return mcpb.write_bundle(dist, platform, binary, tools / ".bin" / "mcpb")


def write_manifests() -> list[pathlib.Path]:
    """Rewrites the committed files that have the version, and returns them."""
    texts = clients.committed() | versions.updated()
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return list(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    beside = commands.add_parser("files", help="man pages and completions, by a binary that runs here")
    beside.add_argument("binary", type=pathlib.Path, metavar="BINARY")
    beside.add_argument("folder", type=pathlib.Path, metavar="FOLDER")
    platform = commands.add_parser("platform", help="what contains the binary of a platform")
    platform.add_argument("target", choices=[each.triple for each in TARGETS], metavar="TARGET")
    platform.add_argument("binary", type=pathlib.Path, metavar="BINARY")
    platform.add_argument("files", type=pathlib.Path, metavar="FILES", help="folder of `files`")
    debian = commands.add_parser("deb", help="the Debian package of this machine")
    debian.add_argument("binary", type=pathlib.Path, metavar="BINARY")
    debian.add_argument("files", type=pathlib.Path, metavar="FILES", help="folder of `files`")
    debian.add_argument("--cargo-deb", default="cargo-deb", help="command of the crate cargo-deb")
    bundle = commands.add_parser("bundle", help="a bundle for Claude Desktop")
    bundle.add_argument("platform", choices=mcpb.PLATFORMS)
    bundle.add_argument("binary", type=pathlib.Path, metavar="BINARY")
    bundle.add_argument("--tools", type=pathlib.Path, default=PACKAGING / "tools" / "node_modules")
    common = commands.add_parser("common", help="what exists once, after those of all platforms")
    commands.add_parser("manifests", help="rewrites committed files that have the version")
    for command in (platform, debian, bundle, common):
        command.add_argument("--dist", type=pathlib.Path, default=DIST, help="folder for the files")
    options = parser.parse_args()
    match options.command:
        case "files":
            made = [files.write_files(options.folder, options.binary)]
        case "platform":
            made = build_platform(options.dist, options.target, options.binary, options.files)
        case "deb":
            made = [build_deb(options.dist, options.binary, options.files, options.cargo_deb)]
        case "bundle":
            made = [build_bundle(options.dist, options.platform, options.binary, options.tools)]
        case "common":
            made = build_common(options.dist)
        case _:
            made = write_manifests()
    for file in made:
        print(f"{file.stat().st_size:>11,}  {file}")


if __name__ == "__main__":
    main()

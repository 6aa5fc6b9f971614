#!/usr/bin/env python3
"""Builds the artefacts of a release from binaries that are built already. packaging/README.md describes them.

    packaging/build.py platform TARGET BINARY [--dist DIST]    what contains the binary of a platform
    packaging/build.py common [--dist DIST]                    what exists once, after those of all platforms
"""

import argparse
import pathlib

from artefacts import npm, wheel
from artefacts.project import ROOT
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
    return [npm.write_launcher(dist)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    platform = commands.add_parser("platform", help="what contains the binary of a platform")
    platform.add_argument("target", choices=[each.triple for each in TARGETS], metavar="TARGET")
    platform.add_argument("binary", type=pathlib.Path, metavar="BINARY")
    common = commands.add_parser("common", help="what exists once, after those of all platforms")
    for command in (platform, common):
        command.add_argument("--dist", type=pathlib.Path, default=DIST, help="folder for the files")
    options = parser.parse_args()
    if options.command == "platform":
        files = build_platform(options.dist, options.target, options.binary)
    else:
        files = build_common(options.dist)
    for file in files:
        print(f"{file.stat().st_size:>11,}  {file}")


if __name__ == "__main__":
    main()

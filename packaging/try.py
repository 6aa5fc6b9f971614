#!/usr/bin/env python3
"""Builds the artefacts of this machine from its binary, installs each in an empty home, and makes the first call.

    packaging/try.py BINARY --uv PATH --tools NODE_MODULES --clients NODE_MODULES --cargo-deb PATH [--node PATH]...
        [--static BINARY]
"""

import argparse
import pathlib
import platform
import sys
import tempfile

sys.dont_write_bytecode = True

import build
from artefacts import files, npm, targets
from trials import archive, bundle, clients, deb, node, python, static, table
from trials.home import TrialError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path, metavar="BINARY")
    parser.add_argument("--uv", required=True, help="uv of the trial of uvx")
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="what `npm ci` installs of packaging/tools")
    parser.add_argument("--clients", type=pathlib.Path, required=True, help="what `npm ci` installs of packaging/clients")
    parser.add_argument("--cargo-deb", required=True, help="command of the crate cargo-deb")
    parser.add_argument("--node", action="append", default=["node"], help="one more Node.js for the launcher")
    parser.add_argument("--static", type=pathlib.Path, help="the binary for musl, whose artefacts are tried as well")
    options = parser.parse_args()
    target = targets.target(f"{platform.machine()}-unknown-linux-gnu")
    binary = options.binary.resolve()
    with tempfile.TemporaryDirectory(prefix="portkey-mcp-dist-") as name:
        dist = pathlib.Path(name)
        beside = files.write_files(dist / "files", binary)
        build.build_platform(dist, target.triple, binary, beside)
        build.build_deb(dist, binary, beside, options.cargo_deb)
        build.build_bundle(dist, "linux", binary, options.tools)
        build.build_common(dist)
        rows = [
            node.trial(dist, target, binary, options.node),
            *python.trial(dist, options.uv),
            bundle.trial(dist),
            archive.trial(dist, target),
            deb.trial(dist),
        ]
    if options.static is not None:
        rows += try_static(options.static.resolve())
    clients.trial(binary, options.clients)
    table.publish(rows)


def try_static(binary: pathlib.Path) -> list[table.Row]:
    """Builds the artefacts of the static binary, and tries them."""
    target = targets.target(f"{platform.machine()}-unknown-linux-musl")
    with tempfile.TemporaryDirectory(prefix="portkey-mcp-dist-") as name:
        dist = pathlib.Path(name)
        beside = files.write_files(dist / "files", binary)
        build.build_platform(dist, target.triple, binary, beside)
        npm.write_launcher(dist)
        return static.trial(dist, target, binary)


if __name__ == "__main__":
    try:
        main()
    except TrialError as error:
        sys.exit(f"FAILED: {error}")

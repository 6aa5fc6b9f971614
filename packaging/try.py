#!/usr/bin/env python3
"""Builds the artefacts of this machine from its binary, installs each in an empty home, and makes the first call.

    packaging/try.py BINARY --uv PATH --tools NODE_MODULES --clients NODE_MODULES --cargo-deb PATH [--node PATH]...
"""

import argparse
import pathlib
import platform
import sys
import tempfile

sys.dont_write_bytecode = True

import build
from artefacts import files, targets
from trials import archive, bundle, clients, deb, node, python, table
from trials.home import TrialError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path, metavar="BINARY")
    parser.add_argument("--uv", required=True, help="uv of the trial of uvx")
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="what `npm ci` installs of packaging/tools")
    parser.add_argument("--clients", type=pathlib.Path, required=True, help="what `npm ci` installs of packaging/clients")
    parser.add_argument("--cargo-deb", required=True, help="command of the crate cargo-deb")
    parser.add_argument("--node", action="append", default=["node"], help="one more Node.js for the launcher")
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
    clients.trial(binary, options.clients)
    table.publish(rows)


if __name__ == "__main__":
    try:
        main()
    except TrialError as error:
        sys.exit(f"FAILED: {error}")

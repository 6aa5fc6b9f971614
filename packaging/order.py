#!/usr/bin/env python3
"""Links the release binary again, with the functions of a start beside each other.

    packaging/order.py [--target TARGET]

A start executes 4,000 of the functions, in all parts of 25 MB of code, and the kernel maps 64 KiB around each: two thirds
of the code are in memory. Beside each other, they take a ninth. benchmarks/README.md has the figures.

Valgrind lists the functions that sessions on a pipe execute, and the linker puts those first. What the binary does stays
the same. Needs `cargo build --release` before, valgrind, and a target that is linked by lld and runs here.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from artefacts.project import NAME, ROOT

TARGET_DIR = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

CLIENT = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "order", "version": "1"}}

# What every client sends.
START = [("initialize", CLIENT), ("tools/list", {})]
CALL = ("tools/call", {"name": "list-all-integrations", "arguments": {}})

# Options and requests of the sessions. The functions of the first come first: the sandbox is no part of most servers.
SESSIONS = [(["--api-key", "order"], START), (["--sandbox"], [*START, CALL])]


def link(target: str | None, *flags: str) -> pathlib.Path:
    """Links the binary with additional flags of the compiler, and returns its path."""
    chosen = ["--target", target] if target else []
    command = ["cargo", "rustc", "--release", "--locked", "--bin", NAME, *chosen, "--", *flags]
    subprocess.run(command, cwd=ROOT, check=True)
    return TARGET_DIR / (target or "") / "release" / NAME


def trace(binary: pathlib.Path, folder: pathlib.Path, settings: list[str], requests: list[tuple[str, dict]]) -> list[str]:
    """Runs a session on a pipe, with a journal; returns the symbols of the functions that it executed."""
    profile = folder / "callgrind"
    options = ["--tool=callgrind", "--demangle=no", "--compress-strings=no", f"--callgrind-out-file={profile}"]
    server = [str(binary), *settings, "--journal", str(folder / "journal.db")]
    with subprocess.Popen(
        ["valgrind", "--quiet", *options, *server],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    ) as process:
        for number, (method, params) in enumerate(requests):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = {}
            # Notifications may come first.
            while answer.get("id") != number and (line := process.stdout.readline()):
                answer = json.loads(line)
            if "result" not in answer or answer["result"].get("isError"):
                process.kill()
                sys.exit(f"{method} failed under valgrind")
            if method == "initialize":
                process.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        process.stdin.close()
    lines = profile.read_text().splitlines()
    # A function that calls itself has a quote and a number behind its name.
    names = (line.removeprefix("fn=").split("'")[0] for line in lines if line.startswith("fn="))
    return list(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", help="the target of `cargo build`, if it was named")
    target = parser.parse_args().target
    with tempfile.TemporaryDirectory(prefix="portkey-mcp-order-") as name:
        folder = pathlib.Path(name)
        binary = link(target, "-C", "strip=none")
        traces = [trace(binary, folder, settings, requests) for settings, requests in SESSIONS]
        symbols = list(dict.fromkeys(symbol for symbols in traces for symbol in symbols))
        order = folder / "order.txt"
        order.write_text("\n".join(symbols) + "\n")
        # Symbols of libraries are no symbols of the binary.
        flags = [f"--symbol-ordering-file={order}", "--no-warn-symbol-ordering"]
        binary = link(target, *(f"-Clink-arg=-Wl,{flag}" for flag in flags))
    print(f"{binary}: {len(symbols)} functions come first")


if __name__ == "__main__":
    main()

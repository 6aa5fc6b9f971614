#!/usr/bin/env node
// Runs the binary of this platform in place of this process, or, where Node.js cannot do that, beneath it. Standard
// input and output are the binary's own in both cases: nothing here reads or writes them.
"use strict";

const fs = require("fs");

const BUILDS = {
  linux: ["x64", "arm64"],
  darwin: ["x64", "arm64"],
  win32: ["x64"],
};

/** Returns the packages that may have the binary, the best first. */
function packages() {
  const base = `portkey-mcp-${process.platform}-${process.arch}`;
  if (process.platform !== "linux") {
    return [base];
  }
  // npm before version 10 installs both. The static binary runs with either C library, the other with glibc only.
  const loader = process.arch === "arm64" ? "aarch64" : "x86_64";
  const names = [`${base}-gnu`, `${base}-musl`];
  return fs.existsSync(`/lib/ld-musl-${loader}.so.1`) ? names.reverse() : names;
}

/** Returns the path of the binary, or undefined if no package with it is installed. */
function findBinary() {
  const file = process.platform === "win32" ? "portkey-mcp.exe" : "portkey-mcp";
  for (const name of packages()) {
    try {
      return require.resolve(`${name}/bin/${file}`);
    } catch {
      // Not installed, because another package fits better.
    }
  }
  return undefined;
}

/** Says why there is nothing to run, and what to do. */
function explainMissing() {
  const here = `${process.platform}-${process.arch}`;
  if (!(BUILDS[process.platform] || []).includes(process.arch)) {
    const known = Object.keys(BUILDS).map((platform) => `${platform} (${BUILDS[platform].join(", ")})`);
    return (
      `there is no build for ${here}, only for ${known.join(", ")}. ` +
      "Build it from source, as docs/install.md of the repository describes."
    );
  }
  return (
    `the package with the binary for ${here} is not installed (${packages().join(" or ")}). ` +
    "npm leaves it out with --omit=optional, --no-optional or a lock file of another platform. " +
    "Install portkey-mcp again without them."
  );
}

/** Runs the binary beneath this process, and ends as it ends. */
function spawnBinary(binary, args) {
  const child = require("child_process").spawn(binary, args, { stdio: "inherit", windowsHide: true });
  // A terminal sends these two to both processes already, and a second one ends the server without a drain.
  const fromTerminal = require("tty").isatty(0) ? ["SIGINT", "SIGQUIT"] : [];
  for (const signal of ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => fromTerminal.includes(signal) || child.kill(signal));
  }
  child.on("error", (error) => {
    console.error(`portkey-mcp: cannot run ${binary}: ${error.message}`);
    process.exitCode = 126;
  });
  child.on("exit", (code, signal) => {
    if (signal !== null && process.platform !== "win32") {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
      return;
    }
    process.exitCode = code === null ? 128 + (require("os").constants.signals[signal] || 0) : code;
  });
}

const binary = findBinary();
const args = process.argv.slice(2);
if (binary === undefined) {
  console.error(`portkey-mcp: ${explainMissing()}`);
  process.exitCode = 1;
} else if (process.execve && process.platform !== "win32") {
  // One process instead of two: signals, exit code and memory are the binary's own. It returns only by failing, and
  // its warning that it is experimental would be printed after that.
  process.execve(binary, [binary, ...args], process.env);
} else {
  spawnBinary(binary, args);
}

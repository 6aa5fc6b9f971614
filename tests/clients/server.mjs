// Starts servers for the other scripts here.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const START_TIMEOUT = 30_000;

// Our environment without what would configure the program.
export const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(PORTKEY_|ENKRYPT_|RUST_LOG$)/.test(name)),
);

// Runs a server with these arguments; resolves once it says where it serves.
export function serve(program, ...args) {
  const child = spawn(program, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const lines = createInterface({ input: child.stderr });
  return new Promise((resolve, reject) => {
    const fail = () => reject(new Error(`${args[0]} did not start serving`));
    child.on("error", reject);
    child.on("exit", fail);
    setTimeout(fail, START_TIMEOUT).unref();
    lines.on("line", (line) => {
      const found = /serving MCP at (http:\/\/[^\s;]+)/.exec(line);
      if (found) resolve({ url: found[1], process: child, ended });
    });
  });
}

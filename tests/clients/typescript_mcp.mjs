// The official TypeScript MCP clients against the server: the first line of the SDK speaks
// 2025-11-25, the second 2026-07-28; each over stdio and over streamable HTTP, with and without a token.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Client as ModernClient, StreamableHTTPClientTransport as ModernHttp } from "@modelcontextprotocol/client";
import { StdioClientTransport as ModernStdio } from "@modelcontextprotocol/client/stdio";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { env, serve } from "./server.mjs";

const INVALID_PARAMS = -32602;
const US = { name: "portkey-mcp-clients", version: "1.0.0" };

const program = process.argv[2] ?? process.env.PORTKEY_MCP_BIN;
if (!program) {
  console.error("usage: typescript_mcp.mjs PORTKEY_MCP (or set PORTKEY_MCP_BIN)");
  process.exit(1);
}
try {
  accessSync(program, constants.X_OK);
} catch {
  console.error(`${program} is no program`);
  process.exit(1);
}

const SDKS = [
  {
    version: "2025-11-25",
    client: () => new Client(US),
    stdio: (parameters) => new StdioClientTransport(parameters),
    http: (url, options) => new StreamableHTTPClientTransport(url, options),
    agreed: (_, told) => told,
  },
  {
    version: "2026-07-28",
    client: () => new ModernClient(US, { versionNegotiation: { mode: { pin: "2026-07-28" } } }),
    stdio: (parameters) => new ModernStdio(parameters),
    http: (url, options) => new ModernHttp(url, options),
    agreed: (client) => client.getNegotiatedProtocolVersion(),
  },
];

function prove(what, check) {
  try {
    check();
  } catch (error) {
    throw new Error(`${what}; ${error.message}`, { cause: error });
  }
  console.log(`ok   ${what}`);
}

async function main() {
  for (const sdk of SDKS) {
    const parameters = { command: program, args: ["stdio", "--sandbox", "--log-level", "error"], env };
    await exercise(`stdio ${sdk.version}`, sdk, sdk.stdio(parameters));
  }
  await serving([], async (url) => {
    for (const sdk of SDKS) {
      await exercise(`http ${sdk.version}`, sdk, sdk.http(url));
    }
  });
  const folder = mkdtempSync(join(tmpdir(), "portkey-mcp-"));
  try {
    const file = join(folder, "tokens.toml");
    const options = { requestInit: { headers: { Authorization: `Bearer ${token(file)}` } } };
    await serving(["--auth", "token", "--auth-file", file], async (url) => {
      for (const sdk of SDKS) {
        await exercise(`http with a token ${sdk.version}`, sdk, sdk.http(url, options));
        await turnedAway(`http without its token ${sdk.version}`, sdk, sdk.http(url));
      }
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// Makes a token for all that can be done; the sandbox takes any key, so none is read.
function token(file) {
  const scopes = "portkey:read,portkey:write,portkey:delete";
  const entry = ["--name", "clients", "--scope", scopes, "--portkey-key", "env:NOT_SET", "--file", file];
  return execFileSync(program, ["token", "new", ...entry], { env, encoding: "utf8" }).trim();
}

async function serving(more, use) {
  const args = ["http", "--sandbox", "--listen", "127.0.0.1:0", "--log-level", "info", ...more];
  const server = await serve(program, ...args);
  try {
    await use(new URL(server.url));
  } finally {
    server.process.kill();
  }
  const code = await server.ended;
  prove("`http` stops when asked to, with success", () => assert.equal(code, 0));
}

async function turnedAway(title, sdk, transport) {
  const client = sdk.client();
  const failure = await client.connect(transport).catch((failure) => failure);
  await client.close();
  prove(`${title}: is told that it takes one`, () => assert.match(String(failure?.message), /401|wants a token/));
}

async function exercise(title, sdk, transport) {
  const client = sdk.client();
  // The first line only lets its transport know the version, so we listen in.
  let told;
  const tell = transport.setProtocolVersion?.bind(transport);
  transport.setProtocolVersion = (version) => {
    told = version;
    tell?.(version);
  };
  await client.connect(transport);
  try {
    const agreed = sdk.agreed(client, told);
    prove(`${title}: agrees on the protocol version`, () => assert.equal(agreed, sdk.version));
    const introduced = client.getServerVersion();
    prove(`${title}: introduces itself`, () => assert.equal(introduced?.name, "portkey-mcp"));
    await tools(title, client);
    await lifecycle(title, client);
    await mistakes(title, client);
  } finally {
    await client.close();
  }
}

async function tools(title, client) {
  const { tools } = await client.listTools();
  prove(`${title}: lists ${tools.length} tools`, () => assert.ok(tools.length >= 27));
  prove(`${title}: names are kebab-case`, () => {
    for (const { name } of tools) assert.match(name, /^[a-z0-9]+(-[a-z0-9]+)*$/);
  });
  prove(`${title}: every tool has a title, a description and hints`, () => {
    for (const { name, title, description, annotations } of tools) {
      assert.ok(title && description, name);
      assert.equal(typeof annotations?.readOnlyHint, "boolean", name);
      assert.equal(typeof annotations?.destructiveHint, "boolean", name);
    }
  });
}

async function lifecycle(title, client) {
  const call = async (name, args) => answer(await client.callTool({ name, arguments: args }));
  const before = await call("list-all-integrations", {});
  prove(`${title}: list-all-integrations answers`, () => assert.ok(before.data.length > 0));
  const slug = "clients-mcp";
  const made = await call("create-integration", {
    name: "From a client",
    ai_provider_id: "openai",
    slug,
    key: "sk-0123456789abcdef",
  });
  prove(`${title}: creates an integration`, () => assert.equal(made.slug, slug));
  await call("update-integration", { slug, description: "Changed" });
  const got = await call("get-integration", { slug });
  prove(`${title}: updates it and gets it`, () => {
    assert.deepEqual([got.id, got.name, got.description], [made.id, "From a client", "Changed"]);
  });
  await call("delete-integration", { slug });
  const gone = complaint(await client.callTool({ name: "get-integration", arguments: { slug } }));
  prove(`${title}: deletes it; then it is a 404`, () => assert.match(gone, /404.*clients-mcp/));
}

async function mistakes(title, client) {
  const wrong = { name: "list-all-integrations", arguments: { page_size: "many" } };
  const told = complaint(await client.callTool(wrong));
  prove(`${title}: a wrong argument is an error with its path`, () => assert.match(told, /`page_size`/));
  const error = await client.callTool({ name: "no-such-tool", arguments: {} }).then(
    (found) => assert.fail(`an unknown tool is no protocol error; found ${JSON.stringify(found)}`),
    (error) => error,
  );
  prove(`${title}: an unknown tool is a protocol error`, () => {
    assert.equal(error.code, INVALID_PARAMS, error);
    assert.match(error.message, /no-such-tool/);
  });
}

// What a call that succeeded answered, in both forms it comes in.
function answer(result) {
  assert.ok(!result.isError, JSON.stringify(result));
  assert.equal(result.content.length, 1);
  assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
  return result.structuredContent;
}

// What a call that failed says.
function complaint(result) {
  assert.equal(result.isError, true, JSON.stringify(result));
  assert.equal(result.structuredContent, undefined);
  return result.content.map(({ text }) => text).join("\n");
}

main().catch((failure) => {
  console.error(failure.stack);
  console.error(`FAILED ${failure.message}`);
  process.exit(1);
});

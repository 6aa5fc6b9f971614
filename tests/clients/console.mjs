// The console for approvals in Debian's Chromium: signing in, deciding, denying several calls, the
// keyboard alone, a phone's width, dark mode, no JavaScript, the access tokens of a proxy; and axe-core
// finds nothing on any page.

import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { accessSync, constants, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { AxePuppeteer } from "@axe-core/puppeteer";
import puppeteer from "puppeteer-core";

import { serve } from "./server.mjs";

const TIMEOUT = 30_000;
const DESKTOP = { width: 1180, height: 800 };
const PHONE = { width: 390, height: 844, isMobile: true, hasTouch: true };
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const [program, pictures] = process.argv.slice(2);
if (!program) {
  console.error("usage: console.mjs PORTKEY_MCP [FOLDER FOR PICTURES]");
  process.exit(1);
}
accessSync(program, constants.X_OK);
accessSync(CHROMIUM, constants.X_OK);

const CONFIG = {
  slug: "pc-support-fallback",
  config: {
    strategy: { mode: "loadbalance" },
    targets: [
      { provider: "@openai-production", weight: 0.5 },
      { provider: "@anthropic", weight: 0.5, api_key: "sk-planted-0123456789abcdef" },
    ],
    retry: { attempts: 4, on_status_codes: [429, 503] },
  },
};

function prove(what, check) {
  try {
    check();
  } catch (error) {
    throw new Error(`${what}; ${error.message}`, { cause: error });
  }
  console.log(`ok   ${what}`);
}

async function main() {
  const browser = await puppeteer.launch({
    executablePath: CHROMIUM,
    // The servers on this machine are all that it opens.
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  try {
    await tryWithToken(browser);
    await tryWithOAuth(browser);
  } finally {
    await browser.close();
  }
}

// The console with the token of its file: all pages.
async function tryWithToken(browser) {
  const folder = mkdtempSync(join(tmpdir(), "portkey-mcp-"));
  const file = join(folder, "admin.json");
  const server = await serve(
    program,
    "http",
    "--sandbox",
    "--listen",
    "127.0.0.1:0",
    ...["--approve-writes", "--approve-deletes", "--approve-by-name"],
    ...["--admin-listen", "127.0.0.1:0", "--admin-file", file],
    ...["--audit-log", join(folder, "audit.jsonl")],
    ...["--journal", join(folder, "journal.db")],
  );
  const { url, token } = JSON.parse(readFileSync(file, "utf8"));
  try {
    const trial = new Trial(browser, server.url, url, token);
    await trial.signIn();
    await trial.inbox();
    await trial.decide();
    await trial.keyboard();
    await trial.denySeveral();
    await trial.elsewhere();
    await trial.audit();
    await trial.history();
    await trial.withoutJavaScript();
    await trial.signOut();
    prove("no page logs an error", () => assert.deepEqual(trial.errors, []));
  } finally {
    server.process.kill();
    await server.ended;
    rmSync(folder, { recursive: true });
  }
}

// The console behind a proxy that signs people in: the browser sends what such a proxy would add.
async function tryWithOAuth(browser) {
  const issuer = await Issuer.start();
  const folder = mkdtempSync(join(tmpdir(), "portkey-mcp-"));
  const [file, settings, key] = ["admin.json", "oauth.toml", "portkey-key"].map((name) => join(folder, name));
  writeFileSync(key, "key-of-the-sandbox", { mode: 0o600 });
  writeFileSync(settings, `
    resource = "${RESOURCE}"
    issuer = "${issuer.url}"
    [console]
    role = "portkey-approver"
    audience = "portkey-mcp-console"
    name_claim = "email"
    [[tenant]]
    value = "support-agent"
    portkey_key = "file:${key}"
  `);
  const server = await serve(
    program,
    "http",
    "--sandbox",
    "--listen",
    "127.0.0.1:0",
    ...["--auth", "oauth", "--auth-file", settings, "--approve-writes", "--approve-deletes"],
    ...["--admin-auth", "oauth", "--admin-listen", "127.0.0.1:0", "--admin-file", file],
  );
  try {
    const { url } = JSON.parse(readFileSync(file, "utf8"));
    const scope = "portkey:read portkey:write portkey:delete";
    const caller = issuer.token({ aud: RESOURCE, sub: "support-agent", scope });
    const trial = new Trial(browser, server.url, url, undefined, caller);
    await trial.signInByToken(issuer);
    prove("no page logs an error", () => assert.deepEqual(trial.errors, []));
  } finally {
    server.process.kill();
    await server.ended;
    issuer.close();
    rmSync(folder, { recursive: true });
  }
}

const RESOURCE = "https://mcp.example.com/mcp";

// An authorization server: its metadata, its key, and tokens that it would issue.
class Issuer {
  static async start() {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const keys = [{ ...publicKey.export({ format: "jwk" }), kid: "a", alg: "ES256", use: "sig" }];
    const server = createServer((request, answer) => {
      const documents = {
        "/.well-known/oauth-authorization-server": { issuer: issuer.url, jwks_uri: `${issuer.url}/keys` },
        "/keys": { keys },
      };
      const document = documents[request.url];
      answer.writeHead(document ? 200 : 404, { "content-type": "application/json" });
      answer.end(JSON.stringify(document ?? {}));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const issuer = Object.assign(new Issuer(), { server, privateKey, url: `http://127.0.0.1:${server.address().port}` });
    return issuer;
  }

  token(claims) {
    const now = Math.floor(Date.now() / 1000);
    const parts = [
      { alg: "ES256", kid: "a", typ: "JWT" },
      { iss: this.url, iat: now, exp: now + 600, ...claims },
    ];
    const signed = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    const signature = sign("sha256", Buffer.from(signed), { key: this.privateKey, dsaEncoding: "ieee-p1363" });
    return `${signed}.${signature.toString("base64url")}`;
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
  }
}

class Trial {
  // `token` signs in at the console, and `caller` is the access token of calls.
  constructor(browser, mcp, url, token, caller) {
    Object.assign(this, { browser, mcp, url, token, caller, errors: [] });
  }

  async open(path, context = this.context) {
    const page = await context.newPage();
    page.setDefaultTimeout(TIMEOUT);
    page.on("pageerror", (error) => this.errors.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") this.errors.push(message.text());
    });
    await page.setViewport(DESKTOP);
    await page.goto(`${this.url}${path}`);
    return page;
  }

  // Checks a page by axe-core: on a desktop and on a phone, light and dark.
  async check(page, what) {
    for (const [size, viewport] of [["desktop", DESKTOP], ["phone", PHONE]]) {
      await page.setViewport(viewport);
      for (const scheme of ["light", "dark"]) {
        await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
        const { violations } = await new AxePuppeteer(page).analyze();
        const found = violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
        prove(`${what}: axe finds nothing, ${size}, ${scheme}`, () => assert.deepEqual(found, []));
        const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        prove(`${what}: fits, ${size}, ${scheme}`, () => assert.ok(width <= 0, `${width} pixels too wide`));
      }
    }
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }]);
    await page.setViewport(DESKTOP);
  }

  async picture(page, name, { scheme = "light", viewport = DESKTOP } = {}) {
    if (!pictures) return;
    mkdirSync(pictures, { recursive: true });
    await page.setViewport(viewport);
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    if (viewport !== PHONE) {
      // The whole page as a view of its height, so that nothing that sticks to the view covers the rest.
      const height = await page.evaluate(() => document.documentElement.scrollHeight);
      await page.setViewport({ ...viewport, height: Math.max(500, height) });
    }
    await page.screenshot({ path: join(pictures, `${name}.png`) });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }]);
    await page.setViewport(DESKTOP);
  }

  // Makes a call, and returns what its caller reads.
  async call(name, args) {
    const params = {
      name,
      arguments: args,
      _meta: {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { name: "support-agent", version: "1.4" },
      },
    };
    const answer = await fetch(this.mcp, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        ...(this.caller && { authorization: `Bearer ${this.caller}` }),
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": name,
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params }),
    });
    const { result, error } = await answer.json();
    assert.ok(result, JSON.stringify(error));
    return { failed: result.isError, text: result.content[0].text };
  }

  // Makes a call that waits, and returns its ticket.
  async ask(name, args) {
    const { text } = await this.call(name, args);
    const found = /ticket is ([0-9a-f]+)/.exec(text);
    assert.ok(found, text);
    return found[1];
  }

  async signIn() {
    this.context = await this.browser.createBrowserContext();
    await this.context.overridePermissions(this.url, ["clipboard-read", "clipboard-sanitized-write"]);
    const page = await this.open("/audit");
    prove("a browser without a session is led to the page for signing in", () => assert.match(page.url(), /sign-in/));
    await this.check(page, "sign-in");
    await page.type("#token", "another");
    await page.type("#by", "operator");
    await submit(page, "button.main");
    const refused = await text(page);
    prove("another token signs nobody in", () => assert.match(refused, /not the token/));
    this.errors.splice(0);
    // With the keyboard alone: here, Enter in a field sends the form.
    await page.type("#token", this.token);
    await page.focus("#by");
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    prove("the token signs in, and leads to the page that was wanted", () => assert.equal(page.url(), `${this.url}/audit`));
    await page.close();
  }

  // Opens the console as a person whom the proxy has signed in.
  async openAs(issuer, claims) {
    const context = await this.browser.createBrowserContext();
    const page = await context.newPage();
    page.setDefaultTimeout(TIMEOUT);
    const token = issuer.token({ aud: "portkey-mcp-console", ...claims });
    await page.setExtraHTTPHeaders({ authorization: `Bearer ${token}` });
    await page.setViewport(DESKTOP);
    await page.goto(`${this.url}/`);
    return page;
  }

  async signInByToken(issuer) {
    const id = await this.ask("update-config", CONFIG);
    const dana = { sub: "u-1", email: "dana@example.com", roles: ["staff", "portkey-approver"] };
    let page = await this.openAs(issuer, dana);
    const shown = await text(page);
    prove("OAuth: the inbox opens without a form", () => assert.match(shown, /Signed in as dana@example\.com/));
    await this.check(page, "OAuth: inbox");
    await this.picture(page, "console-oauth", { viewport: { ...DESKTOP, height: 500 } });
    await page.goto(`${this.url}/calls/${id}`);
    await submit(page, "button.deny");
    assert.match(await text(page), /Denied\. Nothing is sent/);
    prove("OAuth: a call is denied", () => {});
    const { text: told } = await this.call("update-config", CONFIG);
    prove("OAuth: its caller is told", () => assert.match(told, /declined/));
    await page.close();
    page = await this.openAs(issuer, { sub: "u-2", email: "eve@example.com", roles: ["staff"] });
    const refused = await text(page);
    prove("OAuth: nobody without the role gets in", () => assert.match(refused, /You may not decide about calls here/));
    await this.check(page, "OAuth: page without the role");
    await page.close();
  }

  async inbox() {
    const page = await this.open("/");
    prove("an empty inbox says so", () => {});
    assert.match(await text(page), /Nothing waits/);
    await this.check(page, "empty inbox");
    await page.bringToFront();
    const label = await this.ask("delete-label", { label_id: await this.labelId() });
    await page.waitForSelector(`a[href="/calls/${label}"]`);
    prove("a new call appears by itself", () => {});
    this.config = await this.ask("update-config", CONFIG);
    await page.waitForSelector(`a[href="/calls/${this.config}"]`);
    this.member = await this.ask("update-user", { user_id: await this.userId(), role: "admin" });
    await page.waitForSelector(`a[href="/calls/${this.member}"]`);
    this.deletion = await this.ask("delete-integration", { slug: "openai-production" });
    await page.waitForSelector(`a[href="/calls/${this.deletion}"]`);
    const title = await page.title();
    prove("the title counts the waiting calls", () => assert.match(title, /^\(4\) /));
    const order = await page.$$eval(".calls h2 a", (links) => links.map((link) => link.getAttribute("href")));
    prove("the newest call is first", () => assert.equal(order[0], `/calls/${this.deletion}`));
    await this.check(page, "inbox");
    await this.picture(page, "console-inbox");
    await this.picture(page, "console-inbox-phone", { scheme: "dark", viewport: PHONE });
    this.label = label;
    await page.close();
  }

  async labelId() {
    const { text } = await this.call("list-labels", {});
    return JSON.parse(text).data[0].id;
  }

  async userId() {
    const { text } = await this.call("list-users", {});
    return JSON.parse(text).data.find(({ role }) => role === "member").id;
  }

  async decide() {
    let page = await this.open(`/calls/${this.config}`);
    const shown = await text(page);
    prove("a config is shown by its fields", () => {
      for (const part of ["config.strategy.mode", "fallback", "loadbalance", "0.5"]) assert.ok(shown.includes(part), part);
      assert.ok(!shown.includes("sk-planted"));
    });
    await this.check(page, "page of a config");
    await this.picture(page, "console-config");
    await page.goto(`${this.url}/calls/${this.member}`);
    await this.check(page, "page of a member");
    await this.picture(page, "console-privilege");
    await page.goto(`${this.url}/calls/${this.deletion}`);
    await this.check(page, "page of a deletion");
    await this.picture(page, "console-delete");
    await page.click("[data-copy]");
    await page.waitForFunction(() => document.querySelector("[data-copy]").textContent === "Copied");
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    prove("the name of the tool is copied", () => assert.equal(copied, "delete-integration"));
    const before = await page.$eval("[data-seconds-left]", (place) => place.textContent);
    await page.waitForFunction((old) => document.querySelector("[data-seconds-left]").textContent !== old, {}, before);
    prove("the time left is counted down", () => {});
    // Without the name nothing is approved.
    await submit(page, "button.approve");
    assert.match(await text(page), /type its name/);
    prove("a deletion is not approved without the name", () => this.errors.splice(0));
    await page.type("#name", "OpenAI Production");
    await submit(page, "button.approve");
    prove("a decision leads back to the inbox", () => assert.equal(page.url(), `${this.url}/`));
    assert.match(await text(page), /Approved\. The call is carried out/);
    prove("and says what was decided", () => {});
    await this.check(page, "inbox after a decision");
    await page.close();
    const done = await this.call("delete-integration", { slug: "openai-production" });
    prove("the approved call is carried out", () => assert.equal(done.failed, false, done.text));
    page = await this.open(`/calls/${this.deletion}`);
    assert.match(await text(page), /carried out, or has expired/);
    prove("a call that is over is told", () => this.errors.splice(0));
    await page.close();
  }

  // Decides without a pointer: Tab to the button, then Enter. Enter in the field decides nothing.
  async keyboard() {
    const page = await this.open(`/calls/${this.config}`);
    await tabTo(page, "#name");
    await page.keyboard.type("Support Fallback");
    await page.keyboard.press("Enter");
    assert.equal(page.url(), `${this.url}/calls/${this.config}`);
    const pending = await page.$("button.approve");
    prove("Enter in the field of the name decides nothing", () => assert.ok(pending));
    await tabTo(page, "button.deny");
    await tabTo(page, "button.approve");
    prove("Deny and Approve are reached by Tab", () => {});
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    assert.match(await text(page), /Approved\./);
    prove("a call is approved with the keyboard alone", () => {});
    const done = await this.call("update-config", CONFIG);
    prove("and carried out", () => assert.equal(done.failed, false, done.text));
    await page.close();
  }

  async denySeveral() {
    const page = await this.open("/");
    await page.click(`#pick-${this.label}`);
    await page.focus(`#pick-${this.label}`);
    await page.keyboard.press("Enter");
    assert.equal((await page.$$("input[name=call]")).length, 2);
    prove("Enter at a selected call denies nothing", () => {});
    await page.click("[data-select-all]");
    await submit(page, ".bar button.deny");
    assert.match(await text(page), /2 calls were denied\. Nothing is sent\./);
    prove("the selected calls are denied together", () => {});
    const { text: told } = await this.call("delete-label", { label_id: await this.labelId() });
    prove("their caller is told", () => assert.match(told, /declined/));
    await page.close();
  }

  async elsewhere() {
    const id = await this.ask("delete-integration", { slug: "anthropic" });
    const first = await this.open(`/calls/${id}`);
    const second = await this.open(`/calls/${id}`);
    await submit(second, "button.deny");
    await first.bringToFront();
    await first.waitForFunction(() => /was denied by operator/.test(document.body.innerText));
    const left = await first.$("button.approve");
    prove("a page whose call was decided elsewhere says so", () => assert.equal(left, null));
    await this.check(first, "page of a call that was decided elsewhere");
    await Promise.all([first.close(), second.close()]);
  }

  async audit() {
    const page = await this.open("/audit");
    assert.match(await text(page), /approved by operator/);
    prove("the audit page shows who approved", () => {});
    await submit(page, "form[action='/audit/verify'] button");
    while (/verification runs/.test(await text(page))) await page.reload();
    assert.match(await text(page), /are intact/);
    prove("the chain of the audit log is verified", () => {});
    await this.check(page, "audit");
    await this.picture(page, "console-audit");
    await page.close();
  }

  async history() {
    const page = await this.open("/changes");
    assert.match(await text(page), /Update a config: pc-support-fallback/);
    prove("the history lists what was changed", () => {});
    await this.check(page, "history");
    await Promise.all([page.waitForNavigation(), page.click(".calls li:first-child h2 a")]);
    const change = page.url();
    assert.match(await text(page), /strategy\.mode/);
    prove("a change is shown with its differences", () => {});
    await this.check(page, "page of a change");
    await this.picture(page, "console-change");
    await submit(page, "form.bar button");
    assert.match(await text(page), /needs a decision/);
    prove("undoing a change needs a decision", () => assert.match(page.url(), /\/calls\//));
    await page.type("#name", "Support Fallback");
    await submit(page, "button.approve");
    do await page.goto(change);
    while (!/Undone by/.test(await text(page)));
    const { text: now } = await this.call("get-config", { slug: CONFIG.slug });
    prove("once it is approved, the change is undone", () => assert.match(now, /\\"mode\\":\\"fallback\\"/));
    await page.goto(`${this.url}/changes`);
    await this.picture(page, "console-history");
    await page.close();
  }

  async withoutJavaScript() {
    const page = await this.open("/");
    await page.setJavaScriptEnabled(false);
    const id = await this.ask("delete-integration", { slug: "anthropic-eu" }).catch(() => this.ask("update-config", { ...CONFIG, name: "Renamed" }));
    await page.reload();
    await Promise.all([page.waitForNavigation(), page.click(`a[href="/calls/${id}"]`)]);
    const hidden = await page.$$eval("[data-copy]", (buttons) => buttons.every((button) => button.hidden));
    prove("without JavaScript: what needs it is not offered", () => assert.ok(hidden));
    await page.focus("#name");
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    assert.match(await text(page), /Nothing was decided: press Approve or Deny/);
    prove("without JavaScript: Enter decides nothing", () => this.errors.splice(0));
    await submit(page, "button.deny");
    assert.match(await text(page), /Denied\. Nothing is sent/);
    prove("without JavaScript: a call is denied", () => {});
    await page.close();
  }

  async signOut() {
    const page = await this.open("/");
    await submit(page, ".person button");
    await page.goto(`${this.url}/`);
    prove("after signing out, the token is asked for again", () => assert.match(page.url(), /sign-in/));
    await page.close();
  }
}

const text = (page) => page.$eval("body", (body) => body.innerText);

// Presses a button that leads to another page.
async function submit(page, button) {
  await Promise.all([page.waitForNavigation(), page.click(button)]);
}

async function tabTo(page, selector) {
  for (let steps = 0; steps < 60; steps += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
  }
  throw new Error(`${selector} is not reached by Tab`);
}

main().catch((failure) => {
  console.error(failure.stack);
  console.error(`FAILED ${failure.message}`);
  process.exit(1);
});

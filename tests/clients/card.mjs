// The card of `report-costs` in Debian's Chromium, as a client shows it: in a frame without an origin, under the
// strictest policy of MCP Apps, with a small page that plays the host. Light, dark, a narrow frame, names that would
// be markup, errors; and axe-core finds nothing.

import assert from "node:assert/strict";
import { accessSync, constants, mkdirSync } from "node:fs";
import { join } from "node:path";

import { AxePuppeteer } from "@axe-core/puppeteer";
import puppeteer from "puppeteer-core";

import { serve } from "./server.mjs";

const TIMEOUT = 30_000;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const EXTENSION = "io.modelcontextprotocol/ui";
const MIME_TYPE = "text/html;profile=mcp-app";
const REVISION = "2026-07-28";
const WIDE = { width: 720, height: 900 };
const NARROW = { width: 360, height: 900 };
// What a host applies to a page that declares no policy.
const POLICY =
  "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; media-src 'self' data:; connect-src 'none'";
const MARKUP = `<img src="https://example.com/x" onerror="window.parent.hit = 1"><script>window.hit = 1</script>`;

const [program, pictures] = process.argv.slice(2);
if (!program) {
  console.error("usage: card.mjs PORTKEY_MCP [FOLDER FOR PICTURES]");
  process.exit(1);
}
accessSync(program, constants.X_OK);
accessSync(CHROMIUM, constants.X_OK);

function prove(what, check) {
  try {
    check();
  } catch (error) {
    throw new Error(`${what}; ${error.message}`, { cause: error });
  }
  console.log(`ok   ${what}`);
}

async function main() {
  const server = await serve(program, "http", "--sandbox", "--listen", "127.0.0.1:0");
  const browser = await puppeteer.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  try {
    await trial(server.url, browser);
  } finally {
    await browser.close();
    server.process.kill();
    await server.ended;
  }
}

async function trial(url, browser) {
  const tools = await ask(url, "tools/list", {});
  const tool = tools.tools.find(({ name }) => name === "report-costs");
  const uri = tool._meta.ui.resourceUri;
  const { contents } = await ask(url, "resources/read", { uri }, uri);
  prove("the tool names the card, which can be read", () => assert.equal(contents[0].mimeType, MIME_TYPE));
  const args = { period: "last month" };
  const result = await ask(url, "tools/call", { name: "report-costs", arguments: args }, "report-costs");
  const report = result.structuredContent;

  const host = await Host.open(browser, contents[0].text);
  await host.shows(/Waiting for the costs/);
  const [hello] = await host.messages("ui/initialize");
  prove("the card initializes as the revision says", () => {
    assert.equal(hello.params.protocolVersion, "2026-01-26");
    assert.equal(typeof hello.params.appInfo.name, "string");
    assert.equal(typeof hello.params.appInfo.version, "string");
    assert.deepEqual(hello.params.appCapabilities, { availableDisplayModes: ["inline"] });
  });
  const before = await host.count();
  prove("it waits for the answer", () => assert.equal(before, 1));
  await host.answer(hello.id, { theme: "light", locale: "en-US" });
  await host.messages("ui/notifications/initialized");
  prove("it says that it is initialized", () => {});

  await host.notify("ui/notifications/tool-input", { arguments: args });
  await host.shows(/Reading the costs/);
  await host.notify("ui/notifications/tool-result", result);
  const dollars = (amount) => new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" }).format(amount);
  await host.shows(new RegExp(escape(dollars(report.total))));
  const text = await host.text();
  prove("it shows the total, the period before and each group", () => {
    assert.ok(text.includes(dollars(report.previous_total)), text);
    for (const { name, cost } of report.groups) assert.ok(text.includes(name) && text.includes(dollars(cost)), name);
    for (const { name } of report.top_movers) assert.ok(text.includes(name), name);
  });
  const widths = await host.evaluate(() => [...document.querySelectorAll("rect.current")].map((bar) => Number(bar.getAttribute("width"))));
  const most = Math.max(...report.groups.flatMap(({ cost, previous }) => [cost, previous]));
  prove("the bars have the lengths of the costs", () =>
    assert.deepEqual(widths.map(Math.round), report.groups.map(({ cost }) => Math.round((cost / most) * 100))),
  );
  const sizes = await host.messages("ui/notifications/size-changed");
  const height = await host.evaluate(() => Math.ceil(document.getElementById("card").getBoundingClientRect().height));
  prove("it says its size", () => assert.equal(sizes.at(-1).params.height, height));
  await host.check("light");
  await host.picture("cost-card");
  await host.notify("ui/notifications/host-context-changed", { theme: "dark" });
  const dark = await host.evaluate(() => getComputedStyle(document.body).backgroundColor);
  prove("it follows the theme of the host", () => assert.equal(dark, "rgb(23, 23, 23)"));
  await host.check("dark");
  await host.picture("cost-card-dark");
  await host.notify("ui/notifications/host-context-changed", { locale: "de-DE", theme: "light" });
  await host.shows(/\d,\d\d\s\$/);
  prove("it follows the language of the host", () => {});
  await host.notify("ui/notifications/host-context-changed", { locale: "no such language", styles: { variables: { "--color-text-primary": "rgb(1, 2, 3)", "--other": "x" } } });
  const colour = await host.evaluate(() => [getComputedStyle(document.body).color, document.documentElement.style.getPropertyValue("--other")]);
  prove("it takes the host's colours, and nothing else of its style", () => assert.deepEqual(colour, ["rgb(1, 2, 3)", ""]));
  await host.page.setViewport(NARROW);
  const over = await host.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  prove("it fits a narrow frame", () => assert.ok(over <= 0, `${over} pixels too wide`));
  await host.page.setViewport(WIDE);

  const planted = structuredClone(report);
  planted.groups[0].name = MARKUP;
  planted.top_movers = [{ name: MARKUP, change: 1 }];
  planted.not_included = [MARKUP];
  planted.by = MARKUP;
  planted.unit = MARKUP;
  await host.notify("ui/notifications/tool-result", { content: [{ type: "text", text: JSON.stringify(planted) }] });
  await host.shows(/onerror/);
  const elements = await host.evaluate(() => document.querySelectorAll("img, #card script, a").length);
  prove("names are text, and no markup", () => assert.equal(elements, 0));
  prove("text alone is enough, for results without structured content", () => {});

  await host.notify("ui/notifications/tool-result", { isError: true, content: [{ type: "text", text: "no such period" }] });
  await host.shows(/could not be read[^]*no such period/);
  prove("an error is shown", () => {});
  await host.notify("ui/notifications/tool-result", { content: [], structuredContent: { unit: "USD", csv: "workspace,cost_usd\r\nws-a,1\r\n" } });
  await host.shows(/ws-a,1/);
  prove("CSV is shown", () => {});
  for (const odd of [null, {}, { structuredContent: { total: "1", groups: 3 } }, { structuredContent: { total: 1, groups: [null, { cost: "x" }], top_movers: {} } }]) {
    await host.notify("ui/notifications/tool-result", odd);
  }
  await host.notify("ui/notifications/tool-cancelled", { reason: "user" });
  await host.shows(/was cancelled/);
  prove("a result of another shape breaks nothing, and a cancelled call is told", () => {});

  for (const [id, method] of [[71, "ping"], [72, "ui/resource-teardown"]]) {
    await host.post({ jsonrpc: "2.0", id, method, params: {} });
    const answer = await host.response(id);
    prove(`${method} is answered`, () => assert.deepEqual(answer.result, {}));
  }
  await host.post({ jsonrpc: "2.0", id: 73, method: "tools/list", params: {} });
  const unknown = await host.response(73);
  prove("another request is refused", () => assert.equal(unknown.error.code, -32601));
  prove("nothing is loaded, and nothing logs an error", () => assert.deepEqual([host.loaded, host.errors], [[], []]));
  const hit = await host.page.evaluate(() => window.hit);
  prove("nothing planted ran", () => assert.equal(hit, undefined));
}

// A page with the card in a frame, which keeps what the card sends.
class Host {
  static async open(browser, html) {
    const page = await browser.newPage();
    page.setDefaultTimeout(TIMEOUT);
    const host = Object.assign(new Host(), { page, errors: [], loaded: [] });
    page.on("pageerror", (error) => host.errors.push(String(error)));
    page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) host.errors.push(message.text());
    });
    page.on("request", (request) => {
      if (!/^(about|data):/.test(request.url())) host.loaded.push(request.url());
    });
    await page.setViewport(WIDE);
    await page.setContent(`<!DOCTYPE html><html lang="en"><title>Host</title><body style="margin: 0"><div id="host"></div></body></html>`);
    await page.evaluate(
      (document_, policy) => {
        window.received = [];
        const frame = document.createElement("iframe");
        frame.title = "Card";
        frame.sandbox = "allow-scripts";
        Object.assign(frame.style, { border: 0, width: "100%", height: "860px", display: "block" });
        window.addEventListener("message", ({ source, data }) => {
          if (source === frame.contentWindow) window.received.push(data);
        });
        frame.srcdoc = document_.replace("<head>", `<head><meta http-equiv="Content-Security-Policy" content="${policy}">`);
        document.getElementById("host").append(frame);
        window.frame = frame;
      },
      html,
      POLICY,
    );
    const handle = await page.waitForSelector("iframe");
    host.frame = await handle.contentFrame();
    return host;
  }

  post(message) {
    return this.page.evaluate((sent) => window.frame.contentWindow.postMessage(sent, "*"), message);
  }

  notify(method, params) {
    return this.post({ jsonrpc: "2.0", method, params });
  }

  answer(id, hostContext) {
    const hostInfo = { name: "host", version: "1" };
    return this.post({ jsonrpc: "2.0", id, result: { protocolVersion: "2026-01-26", hostInfo, hostCapabilities: {}, hostContext } });
  }

  count() {
    return this.page.evaluate(() => window.received.length);
  }

  // Waits for messages of a method.
  async messages(method) {
    await this.page.waitForFunction((wanted) => window.received.some((message) => message.method === wanted), {}, method);
    return this.page.evaluate((wanted) => window.received.filter((message) => message.method === wanted), method);
  }

  async response(id) {
    await this.page.waitForFunction((wanted) => window.received.some((message) => message.id === wanted && !message.method), {}, id);
    return this.page.evaluate((wanted) => window.received.find((message) => message.id === wanted && !message.method), id);
  }

  evaluate(code) {
    return this.frame.evaluate(code);
  }

  text() {
    return this.evaluate(() => document.getElementById("card").innerText);
  }

  async shows(pattern) {
    await this.frame.waitForFunction((source) => new RegExp(source).test(document.getElementById("card")?.innerText), {}, pattern.source);
  }

  async check(scheme) {
    const { violations } = await new AxePuppeteer(this.page).analyze();
    const found = violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
    prove(`axe finds nothing, ${scheme}`, () => assert.deepEqual(found, []));
  }

  async picture(name) {
    if (!pictures) return;
    mkdirSync(pictures, { recursive: true });
    const height = await this.evaluate(() => Math.ceil(document.getElementById("card").getBoundingClientRect().height));
    await this.page.screenshot({ path: join(pictures, `${name}.png`), clip: { x: 0, y: 0, width: WIDE.width, height } });
  }
}

const escape = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

// Calls a method of the protocol as a client that shows cards.
async function ask(url, method, params, name) {
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientCapabilities": { extensions: { [EXTENSION]: { mimeTypes: [MIME_TYPE] } } },
    "io.modelcontextprotocol/clientInfo": { name: "host", version: "1" },
  };
  const answer = await fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": REVISION,
      "mcp-method": method,
      ...(name && { "mcp-name": name }),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta } }),
  });
  const body = await answer.text();
  const message = JSON.parse(/^data: ?(\{.*)$/m.exec(body)?.[1] ?? body);
  assert.ok(message.result, JSON.stringify(message.error));
  return message.result;
}

main().catch((failure) => {
  console.error(failure.stack);
  console.error(`FAILED ${failure.message}`);
  process.exit(1);
});

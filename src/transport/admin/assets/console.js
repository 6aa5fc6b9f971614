// Adds to pages that work without it: new calls appear by themselves, time is counted down, names
// are copied, and Enter in a field presses no button.
"use strict";

const RETRY_DELAY = 15_000;
const body = document.body;
const status = document.querySelector("[data-status]");
const decided = status?.textContent ?? "";
let loadedAt = performance.now();

// Says something beside what the page itself says.
function tell(text) {
  if (!status) return;
  status.textContent = `${decided} ${text}`.trim();
  status.hidden = false;
}

function prepare() {
  for (const button of document.querySelectorAll("[data-copy], [data-select-all]")) button.hidden = false;
}

function countDown() {
  const passed = Math.floor((performance.now() - loadedAt) / 1000);
  for (const place of document.querySelectorAll("[data-seconds-left]")) {
    const left = Math.max(0, Number(place.dataset.secondsLeft) - passed);
    const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    if (place.textContent !== text) place.textContent = text;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.copy !== undefined) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      tell(`This browser does not copy. The name is ${button.dataset.copy}`);
    }
  }
  if (button.dataset.selectAll !== undefined) {
    const boxes = [...document.querySelectorAll("input[name=call]")];
    const all = boxes.every((box) => box.checked);
    for (const box of boxes) box.checked = !all;
  }
});

// The first button of such a form decides nothing; this spares the way to the server.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches?.("[data-decide] input, input[name=call]")) event.preventDefault();
});

function showCount(waiting) {
  for (const place of document.querySelectorAll("[data-count]")) {
    place.textContent = waiting;
    place.hidden = waiting === 0;
  }
  const title = document.title.replace(/^\(\d+\) /, "");
  document.title = waiting > 0 ? `(${waiting}) ${title}` : title;
}

// Replaces the part of the page that has changed, and keeps what is selected and focused.
async function refresh(waiting, before) {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  const answer = await fetch(location.href, { headers: { "x-console-refresh": "1" } });
  if (answer.redirected) return location.reload();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (live.dataset.live === "call") {
    const next = page.querySelector("[data-live]");
    if (next?.dataset.state === live.dataset.state) return;
    const form = live.querySelector("[data-decide]");
    if (!form) return;
    const text = next?.querySelector(".notice") ?? page.querySelector("main > p:last-of-type");
    form.remove();
    tell(next ? text.textContent : "There is nothing to decide here any more: the call was carried out, or has expired.");
    return;
  }
  const next = page.querySelector("[data-live]");
  if (!next) return;
  const checked = new Set([...live.querySelectorAll("input:checked")].map((box) => box.value));
  const focused = document.activeElement;
  const focus = live.contains(focused) ? (focused.id ? `#${CSS.escape(focused.id)}` : focused.getAttribute("href") && `a[href="${CSS.escape(focused.getAttribute("href"))}"]`) : null;
  live.replaceWith(next);
  loadedAt = performance.now();
  for (const box of next.querySelectorAll("input[name=call]")) box.checked = checked.has(box.value);
  prepare();
  countDown();
  if (focus) next.querySelector(focus)?.focus();
  if (waiting > before) tell(waiting === 1 ? "1 call waits for a decision." : `${waiting} calls wait for a decision.`);
}

function listen() {
  const events = new EventSource("/events");
  let known = Number(document.querySelector("[data-count]")?.textContent ?? 0);
  events.addEventListener("inbox", async (event) => {
    const { waiting, version } = JSON.parse(event.data);
    showCount(waiting);
    if (version !== body.dataset.version) {
      body.dataset.version = version;
      const before = known;
      known = waiting;
      await refresh(waiting, before).catch(() => {});
    }
  });
  events.addEventListener("error", () => {
    // The browser opens a stream that ended by itself; it gives up after another status than 200.
    if (events.readyState !== EventSource.CLOSED) return;
    setTimeout(listen, RETRY_DELAY);
  });
}

prepare();
countDown();
setInterval(countDown, 1000);
if (body.dataset.version !== undefined) listen();

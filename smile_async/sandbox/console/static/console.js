// Keeps the page up to date and takes actions without leaving it. Everything also works without this script.
"use strict";

const REST = 1000; // milliseconds between two looks
const csrf = document.querySelector("meta[name=csrf]").content;
const rows = document.getElementById("rows");
const said = document.getElementById("said");
const live = document.getElementById("live");
const newer = document.getElementById("newer");
const sources = new WeakMap(); // element → the HTML it was made from, before its times were put in local words
let seen = "";
let offset = Number(document.body.dataset.now) * 1000 - Date.now(); // the sandbox may have a clock of its own
let paused = false;
let timer = 0;
let busy = false;
let again = false;
let silencing = 0;
let waiting = null; // the newest rows, kept back while the reader points at the list

// ---- times

function age(moment) {
  const seconds = Math.round((Date.now() + offset - moment) / 1000);
  if (Math.abs(seconds) < 2) return "now";
  if (seconds < 0) return new Date(moment).toLocaleTimeString();
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 43200) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(moment).toLocaleDateString();
}

function tellTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    const moment = Date.parse(time.dateTime);
    const text = time.classList.contains("age") ? age(moment) : new Date(moment).toLocaleTimeString([], { hour12: false });
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) time.title = new Date(moment).toLocaleString();
  }
}

// ---- updates

function remember(root) {
  for (const element of root.querySelectorAll("[data-live], #rows > li")) sources.set(element, element.outerHTML);
}

function typing(element) {
  const active = document.activeElement;
  return element.contains(active) && active.matches("input, select, textarea");
}

// Puts `fresh` in the place of `old`, with the focus and the unfolded parts where they were.
function replace(old, fresh) {
  const key = old.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const unfolded = [...old.querySelectorAll("details")].map((each) => each.open);
  sources.set(fresh, fresh.outerHTML);
  fresh.querySelectorAll("details").forEach((each, index) => { each.open = unfolded[index] ?? each.open; });
  tellTimes(fresh);
  old.replaceWith(fresh);
  if (key === undefined) return;
  const twin = [...fresh.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key);
  (twin ?? fresh.querySelector("a, button"))?.focus({ preventScroll: true });
}

function pointing() {
  return rows.querySelector(":focus-visible") !== null || (matchMedia("(hover: hover)").matches && rows.matches(":hover"));
}

// Rows that are there already change in place at once; new ones would push away what the reader is about to press.
function updateRows(fresh) {
  const incoming = [...fresh.children];
  const known = new Map([...rows.children].map((row) => [row.id, row]));
  const added = incoming.filter((row) => !known.has(row.id));
  for (const row of incoming) {
    const old = known.get(row.id);
    if (old && sources.get(old) !== row.outerHTML) replace(old, row.cloneNode(true));
  }
  const empty = rows.firstElementChild?.classList.contains("none");
  if (added.length && !empty && pointing()) {
    waiting = fresh;
    newer.textContent = `Show ${added.length} newer ${rows.dataset.noun}${added.length > 1 ? "s" : ""}`;
    newer.hidden = false;
    return;
  }
  settle(fresh);
}

function settle(fresh) {
  waiting = null;
  newer.hidden = true;
  const known = new Map([...rows.children].map((row) => [row.id, row]));
  let place = rows.firstElementChild;
  for (const row of [...fresh.children]) {
    const old = known.get(row.id);
    known.delete(row.id);
    if (old && old === place) { place = place.nextElementSibling; continue; }
    const node = old ?? row.cloneNode(true);
    if (!old) { sources.set(node, node.outerHTML); tellTimes(node); if (seen) node.classList.add("new"); }
    rows.insertBefore(node, place);
  }
  for (const gone of known.values()) gone.remove();
}

function update(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  let whole = true;
  for (const region of fresh.querySelectorAll("[data-live]")) {
    const old = document.getElementById(region.id);
    if (!old || sources.get(old) === region.outerHTML) continue;
    if (typing(old)) { whole = false; continue; } // nobody likes a field that is swapped under their fingers
    replace(old, document.importNode(region, true));
  }
  updateRows(document.importNode(fresh.getElementById("rows"), true));
  return whole && waiting === null;
}

async function look() {
  if (busy) { again = true; return; }
  clearTimeout(timer);
  busy = true;
  const began = performance.now();
  let rest = REST;
  try {
    const reply = await fetch(`${document.body.dataset.live}${location.search}`, { headers: seen ? { "X-Seen": seen } : {}, cache: "no-store" });
    if (reply.status === 200) {
      const version = reply.headers.get("X-Version");
      offset = Number(reply.headers.get("X-Now")) * 1000 - Date.now();
      seen = update(await reply.text()) ? version : "-";
    }
    showLive(reply.ok ? "" : "Refused");
    // A busy sandbox is asked less often.
    rest = Math.max(REST, 10 * (performance.now() - began));
  } catch {
    showLive("No answer");
    rest = 3 * REST;
  }
  busy = false;
  const soon = again;
  again = false;
  if (soon) look();
  else if (!paused && !document.hidden) timer = setTimeout(look, rest);
}

function showLive(trouble) {
  live.classList.toggle("trouble", trouble !== "");
  live.querySelector(".word").textContent = paused ? "Paused" : trouble || "Live";
  live.setAttribute("aria-pressed", String(!paused));
}

// ---- actions

function say(text, failed) {
  clearTimeout(silencing);
  said.textContent = text;
  said.classList.toggle("failed", failed);
  said.hidden = false;
  silencing = setTimeout(() => { said.hidden = true; }, failed ? 12000 : 5000);
}

async function act(form, button) {
  const body = new URLSearchParams(new FormData(form, button));
  body.delete("csrf");
  const address = button?.getAttribute("formaction") ?? form.getAttribute("action");
  try {
    const reply = await fetch(address, { method: "POST", body, headers: { "X-CSRF-Token": csrf } });
    say((await reply.text()).trim(), !reply.ok);
    if (reply.ok && form.matches(".inline")) form.querySelectorAll("input:not([type=hidden])").forEach((each) => { each.value = ""; });
  } catch {
    say("the sandbox does not answer: is it still running?", true);
  }
  look();
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.do")) return;
  event.preventDefault();
  act(event.target, event.submitter);
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    say("copied", false);
  } catch {
    getSelection().selectAllChildren(source);
    say("press Ctrl-C to copy what is selected", false);
  }
});

// A picture that had to make room for newer ones leaves its frame empty.
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) event.target.classList.add("lost");
}, true);

// "#faults" leads to a part that may be folded.
function unfold() {
  const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
  if (target instanceof HTMLDetailsElement) target.open = true;
}

newer.addEventListener("click", () => { if (waiting) settle(waiting); rows.focus(); });
live.addEventListener("click", () => { paused = !paused; showLive(""); if (!paused) look(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) look(); });
window.addEventListener("hashchange", unfold);

remember(document);
tellTimes(document);
setInterval(() => { if (!document.hidden) tellTimes(rows); }, 1000);
for (const hidden of document.querySelectorAll("button.copy, #live")) hidden.hidden = false;
if (said.textContent) silencing = setTimeout(() => { said.hidden = true; }, 5000);
unfold();
timer = setTimeout(look, REST);

/**
 * The options page: shows where messages go and who decided that, and lets a person
 * change it where no policy has. It saves nothing that is not an address, and sends
 * nothing anywhere.
 */

import { DEFAULT_GATEWAY } from "./defaults.js";
import { parseAddress, readAddress } from "./address.js";
import { manageOrigins } from "./origins.js";

/**
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) {
    throw new Error(`#${id} is missing in options.html`);
  }
  return found;
}

const form = element("form", HTMLFormElement);
const input = element("address", HTMLInputElement);
const save = element("save", HTMLButtonElement);
const reset = element("reset", HTMLButtonElement);
const managed = element("managed", HTMLElement);
const plain = element("plain", HTMLElement);
const problem = element("problem", HTMLElement);
const status = element("status", HTMLElement);

const SOURCES = {
  policy: "Messages go to the address that your organisation has set.",
  option: "Messages go to the address that was set here.",
  default: "Messages go to the standard address.",
};

/** @param {string} words empty where nothing is wrong */
function showProblem(words) {
  problem.textContent = words;
  problem.hidden = words === "";
  input.setAttribute("aria-invalid", String(words !== ""));
  input.setAttribute("aria-describedby", words === "" ? "hint" : "hint problem");
}

/** @param {string | null} url */
function isPlainElsewhere(url) {
  const { protocol, hostname } = new URL(url ?? DEFAULT_GATEWAY);
  const here = hostname === "localhost" || hostname === "[::1]" || hostname.startsWith("127.");
  return protocol === "http:" && !here;
}

/** @param {string} [news] said before where messages go */
async function show(news) {
  const address = await readAddress(chrome.storage, Date.now());
  const byPolicy = address.source === "policy";
  input.value = address.url ?? address.text;
  input.readOnly = byPolicy;
  save.hidden = byPolicy;
  reset.hidden = byPolicy || address.source === "default";
  managed.hidden = !byPolicy;
  plain.hidden = !isPlainElsewhere(address.url);
  const parsed = parseAddress(address.text);
  showProblem("problem" in parsed ? parsed.problem : "");
  status.textContent =
    address.url === null
      ? "Nothing is sent until this address is put right."
      : [news, SOURCES[address.source]].filter(Boolean).join(" ");
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (input.readOnly) {
    return;
  }
  const parsed = parseAddress(input.value);
  if ("problem" in parsed) {
    showProblem(parsed.problem);
    status.textContent = "Not saved.";
    input.focus();
    return;
  }
  await chrome.storage.local.set({ optionUrl: parsed.url });
  await show("Saved.");
});

reset.addEventListener("click", async () => {
  await chrome.storage.local.remove("optionUrl");
  await show("Saved.");
  input.focus();
});

// A policy that arrives, changes or goes while the page is open.
chrome.storage.onChanged.addListener(async (_changes, area) => {
  if (area === "managed") {
    await show();
  }
});

element("version", HTMLElement).textContent = chrome.runtime.getManifest()["version"];
element("origin", HTMLElement).textContent = location.origin;
element("pages", HTMLElement).append(
  ...manageOrigins().map((origin) => {
    const item = document.createElement("li");
    item.textContent = origin;
    return item;
  }),
);
await show();

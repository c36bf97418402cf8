/**
 * Where messages go: IT policy over the person's option over the default. Used by the
 * worker and by the options page.
 *
 * For some seconds after every start of the browser `storage.managed` answers with an
 * empty object although a policy exists. So the last policy value is kept in
 * `storage.local` and holds while an empty answer cannot be believed yet. A policy
 * whose address is malformed stops sending; it is not replaced by a lesser setting.
 */

import { DEFAULT_GATEWAY } from "./defaults.js";

/** Longest believed gap, with a wide margin: 2.6 to 3.7 s were seen. */
export const GAP_MS = 60_000;

const MAX_URL = 2048;

/**
 * @typedef {{
 *   get(key: string): Promise<Record<string, unknown>>,
 *   set(items: Record<string, unknown>): Promise<void>,
 *   remove(key: string): Promise<void>,
 * }} Area
 * @typedef {{ managed: Pick<Area, "get">, local: Area, session: Area }} Storage
 */

/**
 * `text` is the setting as it was written, `url` where messages go, or null where the
 * setting is not an address.
 * @typedef {{ source: "policy" | "option" | "default", text: string, url: string | null }} Address
 */

/**
 * @param {string} text
 * @returns {{ url: string } | { problem: string }} a normal URL, or what is wrong, in words
 */
export function parseAddress(text) {
  const trimmed = text.trim();
  if (!/^https?:\/\/[^/]/i.test(trimmed)) {
    return { problem: "The address must begin with http:// or https://." };
  }
  if (trimmed.length > MAX_URL || !URL.canParse(trimmed)) {
    return { problem: "This is not an address. It should look like the example." };
  }
  const url = new URL(trimmed);
  // Chromium escapes what cannot stand in a host instead of refusing it.
  if (!/^([\w.-]+|\[[\da-f:.]+\])$/.test(url.hostname)) {
    return { problem: "The name of the gateway can have letters, digits, dots and hyphens only." };
  }
  if (url.username !== "" || url.password !== "") {
    return { problem: "The address must not contain a user name or a password." };
  }
  // An empty query or fragment leaves its mark in the text only.
  if (/[?#]/.test(trimmed)) {
    return { problem: "The address must not contain “?” or “#”." };
  }
  if (url.pathname === "/") {
    url.pathname = "/do";
  }
  return { url: url.href };
}

/**
 * @param {Storage} storage
 * @param {number} now milliseconds since the epoch
 * @returns {Promise<Address>}
 */
export async function readAddress(storage, now) {
  const policy = await readPolicy(storage, now);
  if (policy !== "") {
    return address("policy", policy);
  }
  const option = textOf((await storage.local.get("optionUrl"))["optionUrl"]);
  return option === "" ? address("default", DEFAULT_GATEWAY) : address("option", option);
}

/**
 * Keeps what the policy says now, for the gap after the next start. Call it when the
 * managed storage reports a change: then its answer is to be believed at once.
 * @param {Storage} storage
 * @param {unknown} value the new value of the policy, undefined when it was taken away
 */
export async function rememberPolicy(storage, value) {
  const text = textOf(value);
  if (text === "") {
    await storage.local.remove("lastPolicyUrl");
  } else {
    await storage.local.set({ lastPolicyUrl: text });
  }
}

/**
 * Begins the gap once a browser session.
 * @param {Storage} storage
 * @param {number} now milliseconds since the epoch
 * @returns {Promise<number>} when it began
 */
export async function beginSession(storage, now) {
  const { since } = await storage.session.get("since");
  // A clock that was set back would make the gap endless: begin it again.
  if (typeof since === "number" && since <= now) {
    return since;
  }
  await storage.session.set({ since: now });
  return now;
}

/**
 * @param {Storage} storage
 * @param {number} now
 * @returns {Promise<string>} empty where there is no policy
 */
async function readPolicy(storage, now) {
  const since = await beginSession(storage, now);
  const policy = await readManaged(storage);
  const last = textOf((await storage.local.get("lastPolicyUrl"))["lastPolicyUrl"]);
  if (policy === "" && now - since < GAP_MS) {
    return last;
  }
  if (policy !== last) {
    await rememberPolicy(storage, policy);
  }
  return policy;
}

/**
 * @param {Storage} storage
 * @returns {Promise<string>}
 */
async function readManaged(storage) {
  try {
    return textOf((await storage.managed.get("gatewayUrl"))["gatewayUrl"]);
  } catch {
    // Builds without policy support reject here; they have no policy.
    return "";
  }
}

/**
 * @param {unknown} value
 * @returns {string} empty for everything but text; a blank setting is an absent one
 */
function textOf(value) {
  return typeof value === "string" ? value.trim() : "";
}

/**
 * @param {Address["source"]} source
 * @param {string} text
 * @returns {Address}
 */
function address(source, text) {
  const parsed = parseAddress(text);
  return { source, text, url: "url" in parsed ? parsed.url : null };
}

/**
 * The worker: takes a token from our own content script, sends it to the configured
 * gateway and answers with one outcome.
 *
 * It answers nobody else: not other extensions, not our options page, not a frame inside
 * a page, not an origin that is not in the manifest. The page chooses the token and
 * nothing else. The browser may end this worker between any two lines, so listeners are
 * registered before anything is awaited and nothing is kept in variables.
 */

import { beginSession, readAddress, rememberPolicy } from "./address.js";
import { send } from "./gateway.js";
import { manageOrigins } from "./origins.js";

/** Longest text taken, in UTF-16 units; the content script has the same bound. */
const MAX_TOKEN = 16 * 1024;

/** @typedef {import("./outcome.js").Outcome} Outcome */

const ORIGINS = new Set(manageOrigins());

/**
 * Every field is the browser's own, out of a page's reach.
 * @param {chrome.runtime.MessageSender} sender
 */
function isOurContentScript(sender) {
  return (
    sender.id === chrome.runtime.id &&
    sender.frameId === 0 &&
    sender.origin !== undefined &&
    ORIGINS.has(sender.origin)
  );
}

/**
 * @param {unknown} message
 * @returns {Promise<Outcome>}
 */
async function carry(message) {
  const token = /** @type {{ token?: unknown } | null} */ (message)?.token;
  if (typeof token !== "string" || token === "") {
    return { outcome: "refused:token_empty" };
  }
  if (token.length > MAX_TOKEN) {
    return { outcome: "refused:token_too_long" };
  }
  const address = await readAddress(chrome.storage, Date.now());
  if (address.url === null) {
    // Only a policy can hold such a value: the options page refuses it.
    console.error(`the address from ${address.source} is not an address`);
    return { outcome: "unreachable" };
  }
  return send(address.url, token);
}

/** @param {unknown} error */
function report(error) {
  console.error(error);
}

chrome.runtime.onMessage.addListener((message, sender, respond) => {
  if (!isOurContentScript(sender)) {
    return false;
  }
  carry(message).then(respond, (error) => {
    report(error);
    respond({ outcome: "unreachable" });
  });
  return true;
});

chrome.storage.onChanged.addListener((changes, area) => {
  if (area === "managed" && changes["gatewayUrl"]) {
    rememberPolicy(chrome.storage, changes["gatewayUrl"].newValue).catch(report);
  }
});

// Waking at the start of the browser begins the gap in which an empty policy is not
// believed yet.
chrome.runtime.onStartup.addListener(() => {
  beginSession(chrome.storage, Date.now()).catch(report);
});

// A content script reads `storage.local` unless told otherwise; a page that took over
// its process must not find or change the address there.
chrome.storage.local.setAccessLevel({ accessLevel: "TRUSTED_CONTEXTS" }).catch(report);

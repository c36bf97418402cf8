/**
 * The only file that fetches. One request to the one configured address: no cookies, no
 * redirect followed, nothing cached, no referrer, 10 seconds for everything, and an
 * answer of 64 KiB at most. Called by the worker alone. Never rejects.
 *
 * The request needs no host permission: the gateway allows this extension's origin by
 * CORS, and the worker is outside the page's own network rules.
 */

import { BAD_ANSWER, outcomeOf } from "./outcome.js";

/** The gateway ends its own work after 8 s, so silence of 10 s is silence. */
const TIMEOUT_MS = 10_000;

/** The gateway's answers are below 2 KiB; an echo of many phases stays far below this. */
const MAX_ANSWER = 64 * 1024;

/**
 * @param {string} url
 * @param {string} token
 * @returns {Promise<import("./outcome.js").Outcome>}
 */
export async function send(url, token) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ message: token, timestamp: new Date().toISOString() }),
      credentials: "omit",
      redirect: "error",
      cache: "no-store",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    return { outcome: timedOut(error) ? "timeout" : "unreachable" };
  }
  /** @type {Uint8Array | null} */
  let body;
  try {
    body = await readAll(response);
  } catch {
    // It broke off, or took too long: whoever answers may have taken the message.
    return { outcome: "timeout" };
  }
  const text = body && textOf(body);
  return text === null
    ? BAD_ANSWER
    : outcomeOf(response.status, response.headers.get("Content-Type"), text);
}

/** @param {unknown} error */
function timedOut(error) {
  return error instanceof DOMException && error.name === "TimeoutError";
}

/**
 * @param {Uint8Array} body
 * @returns {string | null} null where it is not UTF-8
 */
function textOf(body) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    return null;
  }
}

/**
 * @param {Response} response
 * @returns {Promise<Uint8Array | null>} null where it is longer than MAX_ANSWER
 * @throws {TypeError} the connection broke
 * @throws {DOMException} the time is up
 */
async function readAll(response) {
  const body = new Uint8Array(MAX_ANSWER);
  const reader = response.body?.getReader();
  let length = 0;
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    if (length + part.value.byteLength > MAX_ANSWER) {
      await reader?.cancel();
      return null;
    }
    body.set(part.value, length);
    length += part.value.byteLength;
  }
  return body.subarray(0, length);
}

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
  try {
    const text = await readAll(response);
    return outcomeOf(response.status, response.headers.get("Content-Type"), text);
  } catch (error) {
    return timedOut(error) ? { outcome: "timeout" } : BAD_ANSWER;
  }
}

/** @param {unknown} error */
function timedOut(error) {
  return error instanceof DOMException && error.name === "TimeoutError";
}

/**
 * @param {Response} response
 * @returns {Promise<string>}
 * @throws {RangeError} longer than MAX_ANSWER
 * @throws {TypeError} not UTF-8, or the connection broke
 */
async function readAll(response) {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const reader = response.body?.getReader();
  let text = "";
  let length = 0;
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    length += part.value.byteLength;
    if (length > MAX_ANSWER) {
      await reader?.cancel();
      throw new RangeError("the answer is too long");
    }
    text += decoder.decode(part.value, { stream: true });
  }
  return text + decoder.decode();
}

/**
 * From the gateway's answer to the one outcome that the page is told. Pure. Anything
 * that is not exactly an answer of our gateway is `unavailable:bad_answer`: a captive
 * portal must never read as "accepted".
 */

/**
 * `outcome` is `accepted`, `duplicate`, `refused:<code>` (it will not be taken),
 * `unavailable:<code>` (not now), `unreachable` or `timeout`. `routed` is there when
 * the gateway said it.
 * @typedef {{ outcome: string, routed?: boolean }} Outcome
 */

/** The form of every code of the gateway. New codes pass; markup and prose do not. */
const CODE = /^[a-z][a-z0-9_]{0,63}$/;

/** @type {Outcome} */
export const BAD_ANSWER = Object.freeze({ outcome: "unavailable:bad_answer" });

/**
 * @param {string} text
 * @returns {Record<string, unknown>} empty where the text is not a JSON object
 */
function members(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
  } catch {
    return {};
  }
}

/**
 * @param {number} status
 * @param {string | null} contentType
 * @param {string} text the whole body
 * @returns {Outcome}
 */
export function outcomeOf(status, contentType, text) {
  const type = (contentType ?? "").split(";", 1)[0]?.trim().toLowerCase();
  if (status === 200 && type === "application/json") {
    return taken(members(text));
  }
  if (status >= 400 && type === "application/problem+json") {
    return refused(status, members(text));
  }
  return BAD_ANSWER;
}

/**
 * @param {Record<string, unknown>} answer
 * @returns {Outcome}
 */
function taken({ outcome, jti, routed }) {
  if ((outcome !== "accepted" && outcome !== "duplicate") || typeof jti !== "string") {
    return BAD_ANSWER;
  }
  if (routed === undefined) {
    return { outcome };
  }
  return typeof routed === "boolean" ? { outcome, routed } : BAD_ANSWER;
}

/**
 * @param {number} status
 * @param {Record<string, unknown>} problem RFC 9457 with the gateway's `code`
 * @returns {Outcome}
 */
function refused(status, { code }) {
  // "bad_answer" is this extension's own word; the gateway never says it.
  if (typeof code !== "string" || !CODE.test(code) || code === "bad_answer") {
    return BAD_ANSWER;
  }
  const later = status === 408 || status === 429 || status >= 500;
  return { outcome: `${later ? "unavailable" : "refused"}:${code}` };
}

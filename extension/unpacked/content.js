/**
 * The page's side: hears a real click on an element that carries a message, hands the
 * text unchanged to the worker, and tells the page the outcome on that same element.
 *
 * It refuses clicks that a script made, sends nothing to any address, reads nothing of
 * the page but the one attribute, and runs in the top frame of the manage origins only
 * (manifest.json). No state outlives the page. Where two copies are installed, the one
 * that comes first works and the other keeps silent: a message is sent once.
 */
if (!document.documentElement.hasAttribute("data-gateway-extension")) {
  /** Longest text handed on, in UTF-16 units; the gateway's own bound is half of it. */
  const MAX_TOKEN = 16 * 1024;

  /**
   * The worker gives up after 10 s. A worker that dies rejects at once; this is for one
   * that hangs, so that a page never says "Sending…" for ever.
   */
  const PATIENCE_MS = 15_000;

  /** After an update the news that it happened can come later than the broken answer. */
  const SETTLE_MS = 500;

  /** @typedef {{ outcome: string, routed?: boolean }} Outcome */

  /**
   * Elements whose message is on its way. Kept here, because `aria-disabled` is the
   * page's to set and may already be set by this very click.
   * @type {WeakSet<Element>}
   */
  const busy = new WeakSet();

  /**
   * @param {string} token
   * @returns {Promise<Outcome>}
   */
  const ask = async (token) => {
    try {
      const answer = await chrome.runtime.sendMessage({ token });
      return typeof answer?.outcome === "string" ? answer : { outcome: "timeout" };
    } catch {
      // The id is gone once the extension was updated or removed under this page; then
      // only a reload helps. Otherwise the worker died on the way, and the message may
      // have arrived.
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      return { outcome: chrome.runtime?.id ? "timeout" : "reload" };
    }
  };

  /**
   * @param {string} token
   * @returns {Promise<Outcome>}
   */
  const carry = (token) => {
    if (token === "") {
      return Promise.resolve({ outcome: "refused:token_empty" });
    }
    if (token.length > MAX_TOKEN) {
      return Promise.resolve({ outcome: "refused:token_too_long" });
    }
    /** @type {Promise<Outcome>} */
    const impatience = new Promise((resolve) => {
      setTimeout(() => resolve({ outcome: "timeout" }), PATIENCE_MS);
    });
    return Promise.race([ask(token), impatience]);
  };

  /**
   * @param {Event} event
   * @returns {Element | undefined} the pressed element that carries a message
   */
  const carrier = (event) =>
    event
      .composedPath()
      .filter((node) => node instanceof Element)
      .find((node) => node.hasAttribute("data-gateway-message"));

  window.addEventListener(
    "click",
    (event) => {
      const element = event.isTrusted ? carrier(event) : undefined;
      if (!element || busy.has(element)) {
        return;
      }
      // Read now: what was pressed is what is sent, whatever the page does next.
      const token = element.getAttribute("data-gateway-message") ?? "";
      busy.add(element);
      // In a task of its own: the page's listener hears this click later than we do, and
      // an instant outcome must not be overwritten by its "Sending…".
      setTimeout(async () => {
        const { outcome, routed } = await carry(token);
        busy.delete(element);
        const detail = typeof routed === "boolean" ? { outcome, routed } : { outcome };
        element.dispatchEvent(new CustomEvent("gateway-outcome", { bubbles: true, detail }));
      }, 0);
    },
    { capture: true },
  );

  const version = chrome.runtime.getManifest()["version"];
  document.documentElement.setAttribute("data-gateway-extension", version);
}

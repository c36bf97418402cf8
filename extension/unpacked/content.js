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
    /** @type {Promise<unknown>} */
    let answer;
    try {
      answer = chrome.runtime.sendMessage({ token });
    } catch {
      // It throws at once where the extension was updated or removed under this page:
      // nothing was sent, and only a reload helps.
      return { outcome: "reload" };
    }
    try {
      const { outcome, routed } = /** @type {Outcome} */ (await answer);
      return routed === undefined ? { outcome } : { outcome, routed };
    } catch {
      // The worker died on the way, or gave no answer: the message may have arrived.
      return { outcome: "timeout" };
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
        const detail = await carry(token);
        busy.delete(element);
        element.dispatchEvent(new CustomEvent("gateway-outcome", { bubbles: true, detail }));
      }, 0);
    },
    { capture: true },
  );

  const version = chrome.runtime.getManifest()["version"];
  document.documentElement.setAttribute("data-gateway-extension", version);
}

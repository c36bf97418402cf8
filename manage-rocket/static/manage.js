// What a clinic page does by itself: shows what came back for each message, tells the
// server, and says when its person has been signed out. The browser extension does the
// sending; the page and it share one contract:
//   <html data-gateway-extension>   the extension is here
//   click on [data-gateway-message] it sends
//   "gateway-outcome" on the button what came back: {outcome, routed}
"use strict";

(() => {
  const root = document.documentElement;
  const script = document.currentScript;

  // The extension gives up after 10 seconds. This is for one that never answers.
  const PATIENCE_MS = 30_000;
  // How long an outcome waits for the words it is told in.
  const WORDS_MS = 5_000;
  // How long to wait before telling the server again, when it could not be reached.
  const RETRIES_MS = [2_000, 8_000, 30_000];
  const OUTCOME = /^(accepted|duplicate|unreachable|timeout|reload|(refused|unavailable):[a-z0-9_]{1,64})$/;

  // The words are the server's. They are fetched with the page, so that they are here when
  // the server is not.
  let words = null;
  const wordsCome = fetch(script.dataset.words)
    .then((answer) => (answer.ok ? answer.json() : null))
    .then((json) => { words = json; })
    .catch(() => { words = null; });

  function wordsOf(outcome, routed) {
    const [kind, code = ""] = outcome.split(":");
    const taken = kind === "accepted" || kind === "duplicate";
    const key = taken && routed === false ? `${kind}:unrouted` : kind;
    const ofCode = words && Object.hasOwn(words.codes, code) && words.codes[code];
    const found = ofCode || (words && words.outcomes[key]);
    const unknown = { tone: "warning", title: outcome, what: "Reload this page to read what this means.", next: "" };
    return { ...(found || unknown), code };
  }

  function part(tag, className, text) {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  }

  // Only what came back is in the live region: it is read out once, not again when it has
  // been recorded.
  function show(place, said) {
    place.className = `app-outcome app-outcome--${said.tone}`;
    place.querySelector("[data-note]").textContent = "";
    const region = place.querySelector("[role=status]");
    region.replaceChildren(
      part("strong", "app-outcome__title", said.title), " ",
      part("span", "", `${said.what} ${said.next}`.trim()), " ",
    );
    if (said.code) {
      const code = part("span", "app-outcome__note", "Code ");
      code.append(part("code", "app-outcome__code", said.code));
      region.append(code, " ");
    }
  }

  const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

  // Shows what came back as long as `current` says so. Over a slow line to the server an
  // outcome is back before the words are: they are waited for, and where that takes too
  // long the bare outcome stands until they come.
  async function showOutcome(place, outcome, routed, current) {
    if (!words) { await Promise.race([wordsCome, wait(WORDS_MS)]); }
    if (current()) { show(place, wordsOf(outcome, routed)); }
    if (words) { return; }
    await wordsCome;
    if (words && current()) { show(place, wordsOf(outcome, routed)); }
  }

  // Tells the server, and tells it again where it could not be reached. Resolves to its
  // answer, or to null where it was not recorded.
  async function report(button, outcome, routed) {
    const { jti, reportToken: token } = button.dataset;
    const body = JSON.stringify({ jti, token, outcome, routed });
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await fetch("/outcomes", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body,
          keepalive: true,
        });
        if (answer.ok) { return await answer.json(); }
        if (answer.status < 500) { return null; }
      } catch {
        // Not reached: the same as a server that failed.
      }
      if (attempt >= RETRIES_MS.length) { return null; }
      await wait(RETRIES_MS[attempt]);
    }
  }

  function prepare(button) {
    const place = document.getElementById(button.dataset.outcome);
    const region = place.querySelector("[role=status]");
    const tag = document.getElementById(button.dataset.tag);
    let patience = 0;
    // Counts what is shown, so that a late answer of the server is not put beside newer words.
    let shown = 0;

    async function settle(outcome, routed) {
      clearTimeout(patience);
      button.removeAttribute("aria-disabled");
      shown += 1;
      const mine = shown;
      const showing = showOutcome(place, outcome, routed, () => mine === shown);
      const answer = await report(button, outcome, routed);
      if (answer && answer.sent) {
        tag.textContent = "Sent";
        tag.className = "nhsuk-tag nhsuk-tag--green";
        button.classList.add("nhsuk-button--secondary");
      }
      if (answer) { stayUntil(answer.signed_in_secs); }
      await showing;
      if (mine !== shown) { return; }
      if (answer) {
        // A gateway that has a message already does not say again that it has no route.
        if (answer.no_further && routed === undefined) { show(place, wordsOf(outcome, false)); }
        place.querySelector("[data-note]").textContent = answer.note;
      } else {
        region.append(part("span", "app-outcome__note", "This could not be recorded here. Make a note of it."));
      }
    }

    button.addEventListener("click", (event) => {
      if (!event.isTrusted || button.getAttribute("aria-disabled") === "true") { return; }
      shown += 1;
      if (!root.hasAttribute("data-gateway-extension")) {
        const mine = shown;
        showOutcome(place, "no_extension", undefined, () => mine === shown);
        return;
      }
      button.setAttribute("aria-disabled", "true");
      place.className = "app-outcome app-outcome--sending";
      place.querySelector("[data-note]").textContent = "";
      region.textContent = "Sending…";
      patience = setTimeout(() => settle("timeout"), PATIENCE_MS);
    });

    button.addEventListener("gateway-outcome", (event) => {
      const { outcome, routed } = event.detail || {};
      const known = typeof outcome === "string" && OUTCOME.test(outcome);
      settle(known ? outcome : "unavailable:bad_answer", typeof routed === "boolean" ? routed : undefined);
    });
  }

  document.querySelectorAll("button[data-gateway-message]").forEach(prepare);

  // Signed out: ask the server when it should be so, because another tab may have kept the
  // session alive, and say it plainly when it is so.
  const banner = document.querySelector("[data-signed-out]");
  let checkAt = 0;
  let timer = 0;

  function stayUntil(secs) {
    banner.hidden = secs > 0;
    clearTimeout(timer);
    if (secs > 0) {
      checkAt = Date.now() + secs * 1000;
      timer = setTimeout(check, secs * 1000 + 500);
    }
  }

  async function check() {
    try {
      const answer = await fetch("/session", { cache: "no-store" });
      if (answer.ok) { stayUntil((await answer.json()).signed_in_secs); }
    } catch {
      // The server cannot be reached: what it would say is not known.
      timer = setTimeout(check, 30_000);
    }
  }

  if (banner) {
    const here = location.pathname + location.search;
    document.querySelector("[data-sign-in-again]").href = `/sign-in?next=${encodeURIComponent(here)}`;
    stayUntil(Number(document.body.dataset.signedInSecs));
    // Timers sleep with the computer.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && Date.now() >= checkAt) { check(); }
    });
    window.addEventListener("pageshow", (event) => { if (event.persisted) { check(); } });
  }
})();

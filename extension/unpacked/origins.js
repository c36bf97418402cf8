/**
 * The origins on which the extension works, read from its own manifest so that they
 * stand in one place. Used by the worker, which answers no other, and by the options
 * page, which lists them.
 */

/**
 * A pattern without a port matches every port; an origin does not.
 * @returns {string[]}
 */
export function manageOrigins() {
  /** @type {{ matches: string[] }[]} */
  const scripts = chrome.runtime.getManifest()["content_scripts"];
  return scripts
    .flatMap((script) => script.matches)
    .map((pattern) => new URL(pattern.replace(/\*$/, "")).origin);
}

// The order of precedence for the gateway's address, and the gap after the browser's
// start. What an address is, is tried in the browser itself (tests/e2e/options.rs): its
// URL parser differs from node's.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULT_GATEWAY } from "../../unpacked/defaults.js";
import { GAP_MS, beginSession, readAddress, rememberPolicy } from "../../unpacked/address.js";

const OPTION = "http://option.example/do";
const POLICY = "http://policy.example/do";
const OLD = "http://old.example/do";

const START = 1_000;
const LATE = START + GAP_MS;

/**
 * @param {Record<string, unknown> | null} items null for an area that does not exist
 */
function area(items) {
  return {
    /** @param {string} key */
    get: async (key) => {
      if (items === null) {
        throw new Error("this browser has no policies");
      }
      return key in items ? { [key]: items[key] } : {};
    },
    /** @param {Record<string, unknown>} more */
    set: async (more) => void Object.assign(items ?? {}, more),
    /** @param {string} key */
    remove: async (key) => void delete items?.[key],
  };
}

/** @param {"policy" | "option" | "default"} source @param {string} url */
const was = (source, url) => ({ source, text: url, url });

/**
 * @typedef {{
 *   name: string,
 *   managed?: Record<string, unknown> | null,
 *   local?: Record<string, unknown>,
 *   since?: number,
 *   now?: number,
 *   expected: import("../../unpacked/address.js").Address,
 *   kept?: string,
 * }} Row
 * @type {Row[]}
 */
const ROWS = [
  { name: "nothing set", expected: was("default", DEFAULT_GATEWAY) },
  { name: "option", local: { optionUrl: OPTION }, expected: was("option", OPTION) },
  {
    name: "policy over option, kept",
    managed: { gatewayUrl: POLICY },
    local: { optionUrl: OPTION },
    expected: was("policy", POLICY),
    kept: POLICY,
  },
  {
    name: "a policy that answers in the gap is believed",
    managed: { gatewayUrl: POLICY },
    local: { lastPolicyUrl: OLD },
    now: START,
    expected: was("policy", POLICY),
    kept: POLICY,
  },
  {
    name: "in the gap the last policy holds",
    local: { optionUrl: OPTION, lastPolicyUrl: OLD },
    now: LATE - 1,
    expected: was("policy", OLD),
    kept: OLD,
  },
  {
    name: "in the gap without a last policy the option holds",
    local: { optionUrl: OPTION },
    now: START,
    expected: was("option", OPTION),
  },
  {
    name: "after the gap a policy that is gone is forgotten",
    local: { optionUrl: OPTION, lastPolicyUrl: OLD },
    expected: was("option", OPTION),
  },
  {
    name: "a clock that was set back begins the gap again",
    local: { lastPolicyUrl: OLD },
    since: LATE,
    now: START,
    expected: was("policy", OLD),
    kept: OLD,
  },
  {
    name: "a browser without policies",
    managed: null,
    local: { optionUrl: OPTION },
    expected: was("option", OPTION),
  },
  {
    name: "a blank policy is none",
    managed: { gatewayUrl: " " },
    local: { optionUrl: OPTION },
    expected: was("option", OPTION),
  },
  {
    name: "a policy that is not text is none",
    managed: { gatewayUrl: 1 },
    expected: was("default", DEFAULT_GATEWAY),
  },
  {
    name: "a malformed policy stops sending",
    managed: { gatewayUrl: "gateway" },
    local: { optionUrl: OPTION },
    expected: { source: "policy", text: "gateway", url: null },
    kept: "gateway",
  },
];

for (const { name, managed = {}, local = {}, since = START, now = LATE, expected, kept } of ROWS) {
  test(name, async () => {
    const storage = { managed: area(managed), local: area(local), session: area({ since }) };
    assert.deepEqual(await readAddress(storage, now), expected);
    assert.equal(local["lastPolicyUrl"], kept);
  });
}

test("the gap begins once a session", async () => {
  const storage = { managed: area({}), local: area({}), session: area({}) };
  assert.equal(await beginSession(storage, START), START);
  assert.equal(await beginSession(storage, LATE), START);
});

test("a reported change is kept at once", async () => {
  /** @type {Record<string, unknown>} */
  const local = {};
  const storage = { managed: area({}), local: area(local), session: area({}) };
  await rememberPolicy(storage, POLICY);
  assert.deepEqual(local, { lastPolicyUrl: POLICY });
  await rememberPolicy(storage, undefined);
  assert.deepEqual(local, {});
});

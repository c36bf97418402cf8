// The gateway's answer becomes an outcome. The same door is tried through a real browser
// in tests/e2e/alone.rs; here are the statuses and content types, all of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { BAD_ANSWER, outcomeOf } from "../../unpacked/outcome.js";

const ACCEPTED = '{"outcome":"accepted","jti":"1","routed":true}';
const PROBLEM = '{"code":"some_code"}';

test("only status 200 can accept", () => {
  for (let status = 100; status < 600; status += 1) {
    const expected = status === 200 ? { outcome: "accepted", routed: true } : BAD_ANSWER;
    assert.deepEqual(outcomeOf(status, "application/json", ACCEPTED), expected, String(status));
  }
});

test("each status of a problem is final, or not for now, or no answer of ours", () => {
  for (let status = 100; status < 600; status += 1) {
    let expected = "refused:some_code";
    if (status < 400) {
      expected = BAD_ANSWER.outcome;
    } else if (status === 408 || status === 429 || status >= 500) {
      expected = "unavailable:some_code";
    }
    const { outcome } = outcomeOf(status, "application/problem+json", PROBLEM);
    assert.equal(outcome, expected, String(status));
  }
});

test("content types", () => {
  for (const [type, good] of /** @type {[string | null, boolean][]} */ ([
    ["application/json", true],
    ["Application/JSON; charset=utf-8", true],
    ["application/json ;x", true],
    ["application/problem+json", false],
    ["application/jsonp", false],
    ["text/html", false],
    ["", false],
    [null, false],
  ])) {
    const { outcome } = outcomeOf(200, type, ACCEPTED);
    assert.equal(outcome, good ? "accepted" : BAD_ANSWER.outcome, String(type));
  }
});

test("codes", () => {
  for (const [code, good] of /** @type {[unknown, boolean][]} */ ([
    ["a", true],
    ["json_bom", true],
    ["x".repeat(64), true],
    ["x".repeat(65), false],
    ["", false],
    ["Expired", false],
    ["1st", false],
    ["a-b", false],
    ["a b", false],
    ["a\n", false],
    ["bad_answer", false],
    [["a"], false],
    [1, false],
    [null, false],
  ])) {
    const { outcome } = outcomeOf(400, "application/problem+json", JSON.stringify({ code }));
    assert.equal(outcome, good ? `refused:${String(code)}` : BAD_ANSWER.outcome, String(code));
  }
});

// Node's JSON.parse as the oracle: random documents and damaged ones, sent as data. What Node refuses is
// answered 400 with a position; what it takes is handled and means the same, but for what evrt refuses on
// purpose: a name twice in one object, lone surrogates, numbers out of range.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { shownValue, start } from "./support/node.js";

let evrt;
before(async () => { evrt = await start(); });
after(async () => { assert.equal(await evrt?.stop(), 0); });

// The same documents in every run.
let state = 2463534242;
function random(n) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % n;
}
const pick = (list) => list[random(list.length)];
const times = (n, make) => Array.from({ length: random(n) }, make);

const string = () => `"${times(6, () => pick(["a", "é", "日", "😀", "\\n", "\\u0000", "\\ud83d\\ude00", "\\\\", '\\"',
  "/", "\\/", "\u007f", "\\u00e9", "\u2028", "__proto__", "x".repeat(random(50))])).join("")}"`;

const number = () => pick([
  () => String(random(1000) - 500),
  () => `${pick(["", "-"])}${random(2 ** 31)}${pick(["", ".5", ".125", ".0001", "e3", "E-7", "e+10", ".75e-300"])}`,
  () => String(Number(`0.${random(2 ** 31)}${random(2 ** 31)}`) * 10 ** (random(600) - 300)),
  () => pick(["0", "-0", "5e-324", "1.7976931348623157e308", "9007199254740991", "-9007199254740992", "1e-400"]),
])();

function value(depth) {
  const kind = random(depth > 3 ? 5 : 8);
  const space = pick(["", "", " ", "\n\t", "\r\n"]);
  if (kind < 2) return string();
  if (kind < 4) return number();
  if (kind < 5) return pick(["true", "false", "null", "[]", "{}"]);
  if (kind < 7) {
    const members = times(20, (_, i) => `${string().slice(0, -1)}${i}"${space}:${space}${value(depth + 1)}`);
    return `{${space}${members.join(`${space},${space}`)}${space}}`;
  }
  return `[${times(30, () => value(depth + 1)).join(`,${space}`)}${space}]`;
}

/** A document with a piece taken out, put in or changed. */
function damaged() {
  const text = [...value(2)]; // characters: half of a pair cannot be sent
  const at = random(text.length + 1);
  const piece = pick([",", ":", '"', "\\", "{", "}", "[", "]", "0", "-", ".", "e", "1", " ", "t", "null", "\n", "\u0001",
    "\u00a0", "\ufeff", "/**/", "NaN", "Infinity", "'", "\\u12", "\\ud800", "\\x41", "+", "1e999"]);
  return [...text.slice(0, at), piece, ...text.slice(at + random(3))].join("");
}

function parse(text) {
  try { return { value: JSON.parse(text) }; } catch { return undefined; }
}

async function post(id, text) {
  const headers = {
    "ce-specversion": "1.0", "ce-id": id, "ce-type": "json.document", "ce-source": "/oracle",
    "content-type": "application/json",
  };
  const response = await fetch(`${evrt.url}/events`, { method: "POST", headers, body: text });
  return { status: response.status, answer: await response.json() };
}

test("documents that Node takes or refuses", async (t) => {
  const taken = [];
  const seen = { taken: 0, refused: 0, stricter: 0 };
  for (let i = 0; i < 1500; i++) {
    const text = i % 3 === 0 ? value(1) : damaged();
    if (text.trim() === "") continue; // no data, not a document
    const oracle = parse(text);
    const { status, answer } = await post(String(i), text);
    if (status === 202) {
      assert.ok(oracle, `taken, but Node refuses it: ${text}`);
      taken.push({ id: String(i), ...oracle });
      seen.taken++;
    } else {
      assert.equal(status, 400, text);
      assert.match(answer.error.message, /at byte \d+ \(line \d+, column \d+\)/, text);
      if (oracle) {
        assert.match(answer.error.message, /stands twice|lone surrogate|out of range|byte-order mark/, text);
        seen.stricter++;
      } else {
        seen.refused++;
      }
    }
  }
  t.diagnostic(JSON.stringify(seen));
  assert.ok(seen.taken > 500 && seen.refused > 400, JSON.stringify(seen));
  const records = await evrt.records(taken.length);
  for (const { id, value } of taken) {
    assert.deepEqual(shownValue(records.get(id).shown), value);
    assert.deepEqual(JSON.parse(records.get(id).encoded), value);
  }
});

test("integers beyond 2^53 come back digit for digit", async () => {
  const digits = ["9007199254740993", "9223372036854775807", "-9223372036854775808", "18446744073709551615",
    "18446744073709551616", "-123456789012345678901234567890"];
  for (const text of digits) {
    const before = (await evrt.records(0)).size;
    assert.equal((await post(`integer ${text}`, `[${text}]`)).status, 202);
    assert.equal((await evrt.records(before + 1)).get(`integer ${text}`).encoded, `[${text}]`);
  }
});

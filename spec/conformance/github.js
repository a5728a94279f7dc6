// Every payload of GitHub's webhooks, as @octokit/webhooks-examples has them, in each of the three content
// modes: event.raw is the bytes that were sent, event.data what Node parses, evrt.json.encode its equal.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { shownValue, start } from "./support/node.js";

const folder = dirname(createRequire(import.meta.url).resolve("@octokit/webhooks-examples/package.json"));

/** {id, type, payload} of every example. */
function examples() {
  const list = [];
  for (const set of readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
    const kinds = JSON.parse(readFileSync(join(folder, set.name, "index.json"), "utf8"));
    for (const { name, examples } of kinds) {
      examples.forEach((payload, i) => list.push({ id: `${set.name}/${name}/${i}`, type: `github.${name}`, payload }));
    }
  }
  return list;
}

// As a sender may write it: compact, or spread over lines, or with all but ASCII escaped.
const styles = [
  (payload) => JSON.stringify(payload),
  (payload) => JSON.stringify(payload, null, 2),
  (payload) => JSON.stringify(payload, null, "\t").replace(/[^\0-\x7f]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
];

const all = examples();
let evrt;
before(async () => { evrt = await start(); });
after(async () => { assert.equal(await evrt?.stop(), 0); });

async function post(headers, body) {
  const response = await fetch(`${evrt.url}/events`, { method: "POST", headers, body });
  const answer = await response.json();
  assert.equal(response.status, 202, JSON.stringify(answer));
  return answer;
}

function structured({ id, type }, text) {
  const attributes = { specversion: "1.0", id, type, source: "https://github.com", datacontenttype: "application/json" };
  return `${JSON.stringify(attributes).slice(0, -1)},"data":${text}}`;
}

// Each sends all of them, given as {id, type, text}; resolves to the answers in order.
const modes = {
  async binary(events) {
    const answers = [];
    for (const { id, type, text } of events) {
      answers.push(await post({
        "ce-specversion": "1.0", "ce-id": id, "ce-type": type, "ce-source": "https://github.com",
        "content-type": "application/json",
      }, text));
    }
    return answers;
  },
  async structured(events) {
    const answers = [];
    for (const event of events) {
      answers.push(await post({ "content-type": "application/cloudevents+json" }, structured(event, event.text)));
    }
    return answers;
  },
  async batched(events) {
    const answers = [];
    for (let at = 0; at < events.length; at += 25) {
      const batch = events.slice(at, at + 25).map((event) => structured(event, event.text));
      answers.push(...await post({ "content-type": "application/cloudevents-batch+json" }, `[${batch.join(" ,\n")}]`));
    }
    return answers;
  },
};

let expected = 0;
Object.entries(modes).forEach(([mode, send], m) => {
  test(`${all.length} payloads, ${mode}`, async (t) => {
    const events = all.map(({ id, type, payload }, i) =>
      ({ id: `${mode}/${id}`, type, text: styles[(i + m) % styles.length](payload) }));
    const answers = await send(events);
    assert.equal(answers.length, events.length);
    answers.forEach((answer, i) => assert.equal(answer.id, events[i].id));
    expected += events.length;
    const records = await evrt.records(expected);
    await t.test("reach a handler with the bytes that were sent", () => {
      for (const { id, text } of events) assert.equal(records.get(id).raw.toString(), text);
    });
    await t.test("are decoded to what Node parses", () => {
      for (const { id, text } of events) assert.deepEqual(shownValue(records.get(id).shown), JSON.parse(text));
    });
    await t.test("come back from evrt.json.encode unchanged in meaning", () => {
      for (const { id, text } of events) assert.deepEqual(JSON.parse(records.get(id).encoded), JSON.parse(text));
    });
    await t.test("keep their attributes, and the sequence that was answered", () => {
      events.forEach(({ id, type }, i) => {
        const { event } = records.get(id);
        assert.equal(event.type, type);
        assert.equal(event.source, "https://github.com");
        assert.equal(event.seq, answers[i].seq);
      });
    });
  });
});

// npm's cloudevents SDK as a client: what it sends in each content mode arrives as the event it was.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { CloudEvent, HTTP, Mode, emitterFor, httpTransport } from "cloudevents";

import { shownValue, start } from "./support/node.js";

let evrt;
let expected = 0;
before(async () => { evrt = await start(); });
after(async () => { assert.equal(await evrt?.stop(), 0); });

const samples = {
  object: new CloudEvent({
    id: "object", type: "com.example.order-placed", source: "/orders", subject: "order 17",
    time: "2024-05-17T12:34:56.789Z", dataschema: "https://example.com/order.json",
    datacontenttype: "application/json", data: { total: 19.99, items: [], note: null, name: "Grüße 日本 😀" },
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", partitionkey: "customer-5",
  }),
  list: new CloudEvent({ id: "list", type: "a.b", source: "urn:x", data: [1, [2, {}], [], "x"] }),
  "no data": new CloudEvent({ id: "no data", type: "a.b", source: "/s" }),
  "numbers and booleans": new CloudEvent({
    id: "numbers and booleans", type: "a.b", source: "/s", data: { a: false }, attempts: 3, urgent: true,
  }),
};

async function send({ headers, body }) {
  const response = await fetch(`${evrt.url}/events`, { method: "POST", headers, body });
  return { status: response.status, answer: await response.json() };
}

/** What the handler recorded is the event that was sent. */
function assertSame(record, sent, id, mode) {
  const { event } = record;
  assert.equal(event.id, id);
  for (const name of ["type", "source", "subject", "dataschema"]) assert.equal(event[name], sent[name], name);
  assert.equal(Date.parse(event.time), Date.parse(sent.time));
  const standard = new Set(["id", "type", "source", "subject", "dataschema", "time", "specversion", "datacontenttype", "data"]);
  for (const [name, value] of Object.entries(sent.toJSON())) {
    if (standard.has(name) || value === undefined) continue;
    // Headers have no types: there every extension is a string.
    assert.deepEqual(event.extensions[name], mode === Mode.BINARY ? String(value) : value, name);
  }
  assert.equal(event.has_data, sent.data !== undefined);
  if (sent.data !== undefined) assert.deepEqual(shownValue(record.shown), sent.data);
}

for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
  for (const [name, sample] of Object.entries(samples)) {
    test(`${mode}: ${name}`, async () => {
      const sent = sample.cloneWith({ id: `${mode} ${sample.id}` });
      const { status, answer } = await send(mode === Mode.BINARY ? HTTP.binary(sent) : HTTP.structured(sent));
      assert.equal(status, 202, JSON.stringify(answer));
      assert.equal(answer.id, sent.id);
      assert.equal(answer.durability, "fsync");
      assertSame((await evrt.records(++expected)).get(sent.id), sent, sent.id, mode);
    });
  }
}

test("batched: all of them, answered in their positions", async () => {
  const events = Object.values(samples).map((sample) => sample.cloneWith({ id: `batch ${sample.id}` }));
  const body = JSON.stringify(events.map((event) => event.toJSON()));
  // The SDK reads batches but does not send them: what it would read is what is sent.
  const headers = { "content-type": "application/cloudevents-batch+json" };
  assert.equal(HTTP.toEvent({ headers, body }).length, events.length);
  const { status, answer } = await send({ headers, body });
  assert.equal(status, 202, JSON.stringify(answer));
  assert.deepEqual(answer.map(({ id }) => id), events.map(({ id }) => id));
  const records = await evrt.records(expected += events.length);
  for (const event of events) assertSame(records.get(event.id), event, event.id, Mode.BATCH);
});

test("the SDK's own emitter over HTTP", async () => {
  for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
    const emit = emitterFor(httpTransport(`${evrt.url}/events`), { mode });
    const sent = samples.object.cloneWith({ id: `emitter ${mode}` });
    const { body } = await emit(sent);
    assert.equal(JSON.parse(body).id, sent.id);
    assertSame((await evrt.records(++expected)).get(sent.id), sent, sent.id, mode);
  }
});

test("binary data arrives as its bytes in both modes", async () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
    const sent = new CloudEvent({
      id: `bytes ${mode}`, type: "a.b", source: "/s", datacontenttype: "application/octet-stream", data: bytes,
    });
    const { status, answer } = await send(mode === Mode.BINARY ? HTTP.binary(sent) : HTTP.structured(sent));
    assert.equal(status, 202, JSON.stringify(answer));
    const { raw } = (await evrt.records(++expected)).get(sent.id);
    assert.deepEqual([...raw], [...bytes]);
  }
});

test("text data arrives as text", async () => {
  for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
    const sent = new CloudEvent({
      id: `text ${mode}`, type: "a.b", source: "/s", datacontenttype: "text/plain", data: 'no JSON, "Grüße"\n',
    });
    const { status, answer } = await send(mode === Mode.BINARY ? HTTP.binary(sent) : HTTP.structured(sent));
    assert.equal(status, 202, JSON.stringify(answer));
    const record = (await evrt.records(++expected)).get(sent.id);
    assert.equal(record.raw.toString(), sent.data);
    assert.equal(shownValue(record.shown), sent.data);
  }
});

test("an event that the SDK would refuse is refused, with the reason", async () => {
  const { headers, body } = HTTP.structured(samples.list.cloneWith({ id: "bad" }));
  const { type, ...rest } = JSON.parse(body);
  const { status, answer } = await send({ headers, body: JSON.stringify(rest) });
  assert.equal(type, "a.b");
  assert.equal(status, 400);
  assert.match(answer.error.message, /type/);
});

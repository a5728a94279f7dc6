// Spans as OpenTelemetry's own messages (npm's @opentelemetry/otlp-transformer) read them: every request is what the
// schema says, byte for byte, and what a collector answers in them is understood.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";

import { start } from "./support/node.js";

const require = createRequire(import.meta.url);
const { opentelemetry } = require("@opentelemetry/otlp-transformer/build/src/generated/root.js");
const { ExportTraceServiceRequest, ExportTraceServiceResponse } = opentelemetry.proto.collector.trace.v1;

const patience = 1000 * Number(process.env.EVRT_SPEC_PATIENCE ?? 60);
const requests = [];
let evrt;
let collector;

const handler = `return { name = "Worker", events = "work.*", handle = function(event, ctx)
    ctx.span("grüße \\255", function() if event.data.fail then error("no \\254 luck") end end,
        { text = "a\\0b", whole = 2^53 - 1, part = 0.5, yes = true, no = false })
end }`;

before(async () => {
  collector = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      const body = Buffer.concat(parts);
      const plain = request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
      requests.push({ headers: request.headers, url: request.url, plain });
      const partial = requests.length === 1 ? { partialSuccess: { rejectedSpans: 0, errorMessage: "a warning" } } : {};
      response.setHeader("Content-Type", "application/x-protobuf");
      response.end(ExportTraceServiceResponse.encode(partial).finish());
    });
  });
  await new Promise((done) => collector.listen(0, "127.0.0.1", done));
  const tracing = { exporter: "otlp", endpoint: `http://127.0.0.1:${collector.address().port}`, batch_delay: "20ms",
    compression: "gzip" };
  evrt = await start({ tracing, retry: { max_retries: 1, initial_delay: "10ms" } }, { "worker.lua": handler });
});
after(async () => {
  assert.equal(await evrt?.stop(), 0);
  collector?.close();
});

async function publish(event) {
  const response = await fetch(`${evrt.url}/events`, {
    method: "POST", body: JSON.stringify({ specversion: "1.0", source: "/s", ...event }),
    headers: { "Content-Type": "application/cloudevents+json", traceparent:
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate: "vendor=value" },
  });
  assert.equal(response.status, 202);
}

const decode = (request) => ExportTraceServiceRequest.decode(request.plain);
const spans = () => requests.flatMap((request) => decode(request).resourceSpans[0].scopeSpans[0].spans);

async function await_(count, wanted) {
  for (const until = Date.now() + patience; ;) {
    const found = spans().filter(wanted);
    if (found.length >= count) return found;
    assert.ok(Date.now() < until, `${found.length} of ${count} spans came`);
    await sleep(20);
  }
}

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const attributes = (list) => Object.fromEntries(list.map(({ key, value }) => {
  const kind = ["stringValue", "boolValue", "intValue", "doubleValue"].find((name) => Object.hasOwn(value, name));
  return [key, kind === "intValue" ? Number(value[kind]) : value[kind]];
}));

test("requests are what the schema says, and hold nothing else", async () => {
  await publish({ id: "1", type: "work.a", data: {} });
  await publish({ id: "2", type: "work.a", data: { fail: true } });
  await await_(3, (span) => span.name === "EventHandler.Handle" && attributes(span.attributes)["handler.name"] === "Worker");
  for (const request of requests) {
    assert.equal(request.url, "/v1/traces");
    assert.equal(request.headers["content-type"], "application/x-protobuf");
    const decoded = decode(request);
    assert.equal(ExportTraceServiceRequest.verify(ExportTraceServiceRequest.toObject(decoded)), null);
    // Encoded again it has the same size: no field was unknown, none of a wrong type.
    assert.equal(ExportTraceServiceRequest.encode(decoded).finish().length, request.plain.length);
    const resource = attributes(decoded.resourceSpans[0].resource.attributes);
    assert.equal(resource["service.name"], "conformance");
    assert.equal(resource["telemetry.sdk.name"], "evrt");
    assert.equal(decoded.resourceSpans[0].scopeSpans[0].scope.name, "evrt");
  }
});

test("spans have the ids, kinds and times of their trace", async () => {
  const all = spans();
  const now = Date.now() * 1e6;
  for (const span of all) {
    assert.equal(hex(span.traceId), "0af7651916cd43dd8448eb211c80319c");
    assert.match(hex(span.spanId), /^(?!0{16})[0-9a-f]{16}$/);
    assert.equal(span.flags & 1, 1);
    assert.ok(Number(span.startTimeUnixNano) <= Number(span.endTimeUnixNano));
    assert.ok(Math.abs(now - Number(span.endTimeUnixNano)) < 1e9 * 600);
  }
  const ids = all.map((span) => hex(span.spanId));
  assert.equal(new Set(ids).size, ids.length);
  const known = new Set([...ids, "b7ad6b7169203331"]);
  for (const span of all) assert.ok(known.has(hex(span.parentSpanId)), span.name);
  const kinds = Object.fromEntries(all.map((span) => [span.name, span.kind]));
  assert.equal(kinds["POST /events"], 2);
  assert.equal(kinds["EventBus.Publish"], 4);
  assert.equal(kinds["EventStore.Store"], 1);
  assert.equal(kinds["EventHandler.Handle"], 5);
  assert.equal(kinds.EventRetry, 1);
  assert.equal(all.find((span) => span.name === "EventBus.Publish").traceState, "vendor=value");
});

test("a script's span has its attributes, and text that is UTF-8", async () => {
  const [span] = await await_(1, ({ name }) => name.startsWith("grüße"));
  assert.equal(span.name, "grüße \ufffd");
  assert.deepEqual(attributes(span.attributes), { text: "a\0b", whole: 2 ** 53 - 1, part: 0.5, yes: true, no: false });
});

test("a failure has its status and exception, a retry its link", async () => {
  const [failed] = await await_(1, (span) => span.name === "EventHandler.Handle" && span.status?.code === 2);
  assert.match(failed.status.message, /worker\.lua:\d+: no \ufffd luck/);
  const exception = attributes(failed.events[0].attributes);
  assert.equal(failed.events[0].name, "exception");
  assert.equal(exception["exception.type"], "error");
  assert.equal(exception["exception.message"], failed.status.message);
  assert.match(exception["exception.stacktrace"], /worker\.lua:/);
  const [retry] = await await_(1, (span) => span.name === "EventRetry");
  assert.equal(hex(retry.links[0].traceId), hex(retry.traceId));
  assert.equal(hex(retry.links[0].spanId), hex(retry.parentSpanId));
});

// A real Jaeger (build.sh): an event is published, and its trace asked back from Jaeger's own API.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { start } from "../support/node.js";

const patience = 1000 * Number(process.env.EVRT_SPEC_PATIENCE ?? 60);
const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const program = process.env.EVRT_JAEGER ?? resolve(here, "../../../build/jaeger/all-in-one");
let jaeger;
let api;
let evrt;

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** Asks until `good` is content with the answer. */
async function ask(path, good) {
  for (const until = Date.now() + patience; ;) {
    const answer = await fetch(api + path).then((response) => response.json()).catch(() => undefined);
    if (answer && good(answer)) return answer;
    assert.ok(Date.now() < until, `Jaeger does not tell ${path}: ${JSON.stringify(answer)}`);
    await sleep(100);
  }
}

before(async () => {
  const flags = ["collector.otlp.http", "collector.otlp.grpc", "query.http-server", "query.grpc-server",
    "collector.http-server", "collector.grpc-server", "admin.http", "http-server"];
  const agents = ["jaeger-binary", "jaeger-compact", "zipkin-compact"].map((name) => `processor.${name}.server`);
  const ports = await freePorts(flags.length + agents.length);
  const address = (i) => `127.0.0.1:${ports[i]}`;
  jaeger = spawn(program, ["--collector.otlp.enabled=true",
    ...flags.map((flag, i) => `--${flag}.host-port=${address(i)}`),
    ...agents.map((flag, i) => `--${flag}-host-port=${address(flags.length + i)}`)],
  { stdio: "ignore", env: { ...process.env, SPAN_STORAGE_TYPE: "memory" } });
  process.once("exit", () => jaeger.kill("SIGKILL"));
  api = `http://${address(2)}/api`;
  await ask("/services", (answer) => answer.errors === null);
  evrt = await start({ tracing: { exporter: "otlp", endpoint: `http://${address(0)}`, batch_delay: "50ms" },
    retry: { max_retries: 1, initial_delay: "10ms" } },
  { "failing.lua": `return { name = "Failing", events = "order.*", handle = function(event, ctx)
    ctx.span("look up", function() if ctx.attempt == 1 then error("not yet") end end, { rows = 3 })
end }` });
});
after(async () => {
  assert.equal(await evrt?.stop(), 0);
  jaeger?.kill("SIGKILL");
});

test("an event's trace is in Jaeger", async () => {
  const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const response = await fetch(`${evrt.url}/events`, { method: "POST", body: "{}",
    headers: { "ce-specversion": "1.0", "ce-type": "order.placed", "ce-source": "/shop", "ce-id": "1",
      "Content-Type": "application/json", traceparent: `00-${trace}-00f067aa0ba902b7-01` } });
  assert.equal(response.status, 202);
  // One of the request, two of publishing, one of Recorder, and of each attempt of Failing two, with EventRetry.
  const { data: [found] } = await ask(`/traces/${trace}`, (answer) => answer.data?.[0]?.spans.length === 9);
  const named = (name) => found.spans.filter((span) => span.operationName === name);
  const tags = (span) => Object.fromEntries(span.tags.map(({ key, value }) => [key, value]));
  const references = (span) => span.references.map(({ refType, spanID }) => `${refType} ${spanID}`);
  assert.equal(Object.values(found.processes)[0].serviceName, "conformance");
  const [publish] = named("EventBus.Publish");
  assert.deepEqual(references(publish), [`CHILD_OF ${named("POST /events")[0].spanID}`]);
  assert.equal(tags(publish)["span.kind"], "producer");
  assert.equal(tags(publish)["event.type"], "order.placed");
  assert.deepEqual(references(named("EventStore.Store")[0]), [`CHILD_OF ${publish.spanID}`]);
  const handles = named("EventHandler.Handle");
  assert.equal(handles.length, 3);
  const failed = handles.find((span) => tags(span).error === true);
  assert.equal(tags(failed)["handler.name"], "Failing");
  assert.equal(failed.logs[0].fields.find(({ key }) => key === "exception.message").value,
    tags(failed)["otel.status_description"]);
  const [retry] = named("EventRetry");
  assert.ok(references(retry).some((reference) => reference.endsWith(publish.spanID)));
  assert.equal(tags(retry)["retry.attempt"], 1);
  assert.equal(named("look up").length, 2);
  const { data: services } = await ask("/services", (answer) => answer.data.includes("conformance"));
  assert.ok(services.includes("conformance"));
});

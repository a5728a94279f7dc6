// Starts the evrt of $EVRT_BUILD (default build/release) in a folder of its own, with one handler that
// records what reaches it. Nothing waits without end; stop() ends the process and removes the folder.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const patience = 1000 * Number(process.env.EVRT_SPEC_PATIENCE ?? 60);
const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const build = resolve(here, "../../..", process.env.EVRT_BUILD ?? "build/release");

const config = {
  service: { name: "conformance" },
  handlers: "handlers/",
  workers: { count: 1 },
  http: { listen: "127.0.0.1:0" },
  admin: { listen: "127.0.0.1:0" },
  store: { path: "data/" },
  logging: { level: "info", sampling: { first: 0 } },
};

/** `more`: keys of the configuration beside those above; `handlers`: more files. Resolves to {url, records(count), stop()}. */
export async function start(more = {}, handlers = {}) {
  const folder = mkdtempSync(join(tmpdir(), "evrt-conformance-"));
  const record = join(folder, "record");
  mkdirSync(join(folder, "handlers"));
  cpSync(join(here, "recorder.lua"), join(folder, "handlers/recorder.lua"));
  for (const [name, text] of Object.entries(handlers)) writeFileSync(join(folder, "handlers", name), text);
  writeFileSync(join(folder, "evrt.yaml"), JSON.stringify({ ...config, ...more })); // JSON is YAML
  const child = spawn(join(build, "evrt"), ["run", join(folder, "evrt.yaml")], {
    env: { ...process.env, EVRT_RECORD: record },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  process.once("exit", () => child.kill("SIGKILL"));
  const said = [];
  const given = new Promise((_, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`evrt ended with ${code}`)));
    setTimeout(() => reject(new Error("evrt is not ready")), patience).unref();
  });
  let url;
  try {
    url = await Promise.race([ready(child, said), given]);
  } catch (error) {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`${error.message}:\n${said.join("\n")}`);
  }
  given.catch(() => {}); // its end is stop()'s business from here on

  async function stop() {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), patience);
    const [code] = await ended;
    clearTimeout(timer);
    rmSync(folder, { recursive: true, force: true });
    return code;
  }

  /** Waits for that many records; resolves to a map from event id to record. */
  async function records(count) {
    for (const until = Date.now() + patience; ;) {
      const found = existsSync(record) ? parse(readFileSync(record)) : new Map();
      if (found.size >= count) return found;
      if (Date.now() > until || child.exitCode !== null) {
        throw new Error(`${found.size} of ${count} events were handled:\n${said.slice(-20).join("\n")}`);
      }
      await sleep(50);
    }
  }

  return { url, records, stop };
}

/** The address of the ingest listener, once it takes events. */
async function ready(child, said) {
  let url;
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    let entry;
    try { entry = JSON.parse(line); } catch { continue; }
    if (entry.msg === "Listening") url = `http://${entry.ingest}`;
    if (entry.msg === "evrt ready") break;
  }
  child.stdout.resume();
  child.stdout.on("data", (text) => said.push(String(text)) > 1000 && said.splice(0, 500));
  return url;
}

/** What recorder.lua wrote; a record that is still being written is left for later. */
function parse(bytes) {
  const found = new Map();
  for (let at = 0; at < bytes.length;) {
    const newline = bytes.indexOf(10, at);
    if (newline < 0) break;
    const lengths = JSON.parse(bytes.toString("utf8", at, newline));
    const parts = [];
    at = newline + 1;
    for (const n of lengths) {
      parts.push(bytes.subarray(at, at + n));
      at += n;
    }
    if (at >= bytes.length) break;
    at += 1;
    const [attributes, raw, shown, encoded] = parts;
    const event = JSON.parse(attributes);
    found.set(event.id, { event, raw, shown: String(shown), encoded: String(encoded) });
  }
  return found;
}

/** Reads the notation of recorder.lua. */
export function shownValue(text) {
  const lines = text.split("\n");
  let at = 0;
  function value() {
    const line = lines[at++];
    const rest = line.slice(1);
    switch (line[0]) {
      case "[": return Array.from({ length: Number(rest) }, value);
      case "{": {
        const object = {};
        for (let n = Number(rest); n > 0; n--) {
          const name = value();
          Object.defineProperty(object, name, { value: value(), enumerable: true, writable: true, configurable: true });
        }
        return object;
      }
      case '"': return rest.replace(/\\(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
      case "#": return Number(rest);
      default: {
        const [, digits] = line.match(/^(-?\d+)U?L?L?$/) ?? []; // an integer beyond 2^53
        return digits ? Number(digits) : { null: null, true: true, false: false }[line];
      }
    }
  }
  const result = value();
  if (at !== lines.length) throw new Error(`${lines.length - at} lines too many`);
  return result;
}

// The peer of spec/bench/http: what a Node developer would write to take events in durably and fast. One HTTP
// server; what has come in during a turn of the event loop is one transaction of better-sqlite3 (WAL,
// synchronous=FULL), and is answered once that has returned. A transaction for each request would be slower.
//
//     node http_peer.js DATABASE      prints the port it listens on
'use strict';
const http = require('http');
const { randomUUID } = require('crypto');
const db = new (require('better-sqlite3'))(process.argv[2]);

db.pragma('journal_mode = WAL');
db.pragma('synchronous = FULL');
db.exec(`CREATE TABLE events (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL,
  source TEXT NOT NULL, time TEXT NOT NULL, data TEXT)`);
const insert = db.prepare('INSERT INTO events (id, type, source, time, data) VALUES (?, ?, ?, ?, ?)');

function store(event) {
  const id = event.id || randomUUID();
  const time = event.time || new Date().toISOString();
  const { lastInsertRowid } = insert.run(id, event.type, event.source || 'peer', time, JSON.stringify(event.data));
  return { id, seq: Number(lastInsertRowid) };
}

function answer(response, status, body) {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
  response.end(text);
}

let waiting = [];
const storeAll = db.transaction((requests) => requests.map(({ body }) => (
  Array.isArray(body) ? body.map(store) : store(body))));

function commit() {
  const requests = waiting;
  waiting = [];
  const answers = storeAll(requests);
  requests.forEach(({ response }, i) => answer(response, 202, answers[i]));
}

function check(body) {
  for (const event of Array.isArray(body) ? body : [body]) {
    if (typeof event.type !== 'string') throw new TypeError('type: missing');
  }
}

http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    try {
      const body = JSON.parse(Buffer.concat(chunks));
      check(body);
      if (waiting.length === 0) setImmediate(commit);
      waiting.push({ body, response });
    } catch (error) {
      answer(response, 400, { error: { code: 'bad_event', message: error.message } });
    }
  });
}).listen(0, '127.0.0.1', function listening() {
  console.log(this.address().port);
});

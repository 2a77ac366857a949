import assert from "node:assert/strict";
import { createHmac } from "node:crypto";

import { prove } from "../form/proof.js";
import { Refusal } from "./answer.js";
import { configure } from "./config.js";
import { hex, sha256 } from "./hash.js";
import { network, Rates } from "./rate.js";
import { makeWorker } from "./worker.js";

const message = Deno.readTextFileSync(new URL("../testdata/gnupg.asc", import.meta.url));
const origin = "https://example.org";
const env = {
  HOMING_FORM_URL: "https://home.test/form",
  HOMING_FORM_SECRET: "correct horse battery staple, and more",
  ALLOWED_ORIGINS: `${origin}, https://www.example.org`,
  PROOF_BITS: "8",
};
const accepted = () => Response.json({ status: "accepted", id: "7" }, { status: 202 });

/** @typedef {{ url: string, headers: Headers, redirect: RequestRedirect, body: string }} Forwarded */

/**
 * A worker between a browser and a homing that are made of this test.
 * @param {(() => Response | Promise<Response>)[]} answers homing's, the last again and again
 */
function rig(...answers) {
  /** @type {Forwarded[]} */
  const forwarded = [];
  const clock = { now: 1_800_000_000, paused: 0 };
  const serve = makeWorker({
    fetch: async (input, init) => {
      const request = new Request(input, init);
      forwarded.push({
        url: request.url,
        headers: request.headers,
        redirect: request.redirect,
        body: await request.text(),
      });
      const answer = answers[Math.min(forwarded.length, answers.length) - 1] ?? accepted;
      return answer();
    },
    now: () => clock.now,
    pause: (milliseconds) => {
      clock.paused += milliseconds;
      return Promise.resolve();
    },
  });
  return { forwarded, clock, serve };
}

/**
 * @param {string} body
 * @param {number} time
 */
async function proof(body, time) {
  return prove(time, hex(await sha256(body)), 8);
}

/**
 * What the page sends, with changes; an undefined header is left out.
 * @param {{ body?: BodyInit, time?: number, method?: string, headers?: Record<string, string | undefined> }} [change]
 */
async function request({ body = message, time = 1_800_000_000, method = "POST", headers = {} } = {}) {
  const all = {
    Origin: origin,
    "Content-Type": "application/pgp-encrypted",
    "X-Homing-Proof": typeof body === "string" ? await proof(body, time) : "",
    ...headers,
  };
  const given = Object.entries(all).filter(([, value]) => value !== undefined);
  return new Request("https://edge.test/", {
    method,
    headers: /** @type {[string, string][]} */ (given),
    body: method === "POST" ? body : undefined,
  });
}

Deno.test("a message is signed and forwarded", async () => {
  const { forwarded, serve } = rig();
  const answer = await serve(await request(), env, "192.0.2.1");
  assert.equal(answer.status, 202);
  assert.deepEqual(await answer.json(), { status: "accepted", id: "7" });
  assert.equal(answer.headers.get("Access-Control-Allow-Origin"), origin);
  assert.equal(answer.headers.get("Vary"), "Origin");
  assert.equal(answer.headers.get("Cache-Control"), "no-store");
  assert.equal(answer.headers.get("X-Content-Type-Options"), "nosniff");
  assert.equal(forwarded.length, 1);
  const { url, headers, redirect, body } = /** @type {Forwarded} */ (forwarded[0]);
  assert.equal(redirect, "manual", "a signed message goes to nobody else");
  assert.equal(url, env.HOMING_FORM_URL);
  assert.equal(body, message);
  assert.equal(headers.get("Content-Type"), "application/pgp-encrypted");
  assert.equal(headers.get("X-Homing-Timestamp"), "1800000000");
  const nonce = headers.get("X-Homing-Nonce") ?? "";
  assert.match(nonce, /^[0-9a-f]{32}$/);
  const want = createHmac("sha256", env.HOMING_FORM_SECRET)
    .update(`v1\n1800000000\n${nonce}\n${hex(await sha256(message))}`).digest("hex");
  assert.equal(headers.get("X-Homing-Signature"), `v1=${want}`);
  const names = [...headers.keys()].filter((name) =>
    !/^(content-type|x-homing-(timestamp|nonce|signature))$/.test(name)
  );
  assert.deepEqual(names, [], "nothing of the visitor goes on to homing");
});

Deno.test("a message keeps its nonce, another has another", async () => {
  const { forwarded, clock, serve } = rig();
  await serve(await request(), env, "192.0.2.1");
  clock.now += 100;
  await serve(await request({ time: clock.now }), env, "192.0.2.1");
  await serve(await request({ body: message.trimEnd(), time: clock.now }), env, "192.0.2.1");
  const [first, again, other] = forwarded.map(({ headers }) => headers.get("X-Homing-Nonce"));
  assert.equal(again, first);
  assert.notEqual(other, first);
});

const down = () => Promise.reject(new TypeError("connection refused"));
const cut = () => {
  const pull = (/** @type {ReadableStreamDefaultController} */ stream) =>
    stream.error(new TypeError("connection reset"));
  return new Response(new ReadableStream({ pull }), { status: 202 });
};
const proxy = () => new Response("<h1>Bad gateway</h1>", { status: 502 });
const busy = () => Response.json({ error: "unavailable", message: "spool full" }, { status: 503 });
/** @type {[name: string, answers: (() => Response | Promise<Response>)[], status: number, error: string | undefined, tries: number][]} */
const outcomes = [
  ["back at the second try", [down, accepted], 202, undefined, 2],
  ["back at the third try", [busy, proxy, accepted], 202, undefined, 3],
  ["away", [down], 503, "unavailable", 3],
  ["a proxy's page", [proxy], 503, "unavailable", 3],
  ["a proxy that is busy", [() => new Response("slow down", { status: 429 })], 503, "unavailable", 3],
  ["an answer that is cut short", [cut, accepted], 202, undefined, 2],
  ["a page without an end", [() => new Response("x".repeat(100_000), { status: 202 })], 502, "misconfigured", 1],
  ["homing's yes with another status", [() => Response.json({ status: "accepted" })], 502, "misconfigured", 1],
  ["JSON that is nothing", [() => Response.json(null, { status: 202 })], 502, "misconfigured", 1],
  ["a page with status 202", [() => new Response("hello", { status: 202 })], 502, "misconfigured", 1],
  ["a redirection", [() => Response.redirect("https://elsewhere.test/", 302)], 502, "misconfigured", 1],
  ["another path", [() => new Response("404 page not found", { status: 404 })], 502, "misconfigured", 1],
  ["a code with another status", [() => Response.json({ error: "wrong_key" }, { status: 500 })], 503, "unavailable", 3],
  [
    "a nonce of another message",
    [() => Response.json({ error: "replay", message: "m" }, { status: 409 })],
    409,
    "replay",
    1,
  ],
  ["an old key", [() => Response.json({ error: "wrong_key", message: "m" }, { status: 400 })], 400, "wrong_key", 1],
  [
    "another secret",
    [() => Response.json({ error: "bad_signature", message: "m" }, { status: 401 })],
    401,
    "bad_signature",
    1,
  ],
  [
    "too large for homing",
    [() => Response.json({ error: "too_large", message: "m" }, { status: 413 })],
    413,
    "too_large",
    1,
  ],
];

for (const [name, answers, status, error, tries] of outcomes) {
  Deno.test(`homing: ${name}`, async () => {
    const { forwarded, clock, serve } = rig(...answers);
    const answer = await serve(await request(), env, "192.0.2.1");
    assert.equal(answer.status, status);
    assert.equal((await answer.json()).error, error);
    assert.equal(forwarded.length, tries);
    assert.ok(clock.paused < 5000, `it paused for ${clock.paused} ms`);
    const same = new Set(forwarded.map(({ headers }) => JSON.stringify([...headers])));
    assert.equal(same.size, 1, "a try is the same request");
  });
}

Deno.test("homing: an answer without an end is not read to it", async () => {
  let pulled = 0;
  const pull = (/** @type {ReadableStreamDefaultController} */ stream) => {
    if ((pulled += 1000) > 1_000_000) stream.close();
    else stream.enqueue(new Uint8Array(1000));
  };
  const { serve } = rig(() => new Response(new ReadableStream({ pull }), { status: 202 }));
  assert.equal((await serve(await request(), env, "192.0.2.1")).status, 502);
  assert.ok(pulled < 10_000, `${pulled} octets were read`);
});

Deno.test("homing: one that says nothing is given up", async () => {
  const timeout = AbortSignal.timeout;
  /** @type {number[]} */
  const waits = [];
  AbortSignal.timeout = (milliseconds) => {
    waits.push(milliseconds);
    return AbortSignal.abort();
  };
  try {
    const serve = makeWorker({
      fetch: (_, init) =>
        init?.signal?.aborted ? Promise.reject(new DOMException("timeout")) : Promise.resolve(accepted()),
      now: () => 1_800_000_000,
      pause: () => Promise.resolve(),
    });
    assert.equal((await serve(await request(), env, "192.0.2.1")).status, 503);
  } finally {
    AbortSignal.timeout = timeout;
  }
  assert.deepEqual(waits, [30_000, 30_000, 30_000]);
});

Deno.test("homing says when to come back", async () => {
  const { serve } = rig(() =>
    Response.json({ error: "rate_limited", message: "m" }, { status: 429, headers: { "Retry-After": "90" } })
  );
  const answer = await serve(await request(), env, "192.0.2.1");
  assert.equal(answer.status, 429);
  assert.equal(answer.headers.get("Retry-After"), "90");
  assert.equal(answer.headers.get("Access-Control-Expose-Headers"), "Retry-After");
});

const now = 1_800_000_000, old = now - 601, early = now + 61;

/**
 * A proof whose counter begins with something; with bits, one of no more bits than these.
 * @param {string} prefix
 * @param {number} [bits]
 */
async function proofBy(prefix, bits) {
  const digest = hex(await sha256(message));
  for (let counter = 0;; counter++) {
    const hash = hex(await sha256(`v1\n${now}\n${digest}\n${prefix}${counter}`));
    const zeros = BigInt(`0x1${hash}`).toString(2).slice(1).indexOf("1");
    if (bits === undefined ? zeros >= 8 : zeros === bits) return `v1 ${now} ${prefix}${counter}`;
  }
}

/** @type {[name: string, change: Parameters<typeof request>[0], status: number, error: string][]} */
const refused = [
  ["another origin", { headers: { Origin: "https://example.com" } }, 403, "wrong_origin"],
  ["the origin null", { headers: { Origin: "null" } }, 403, "wrong_origin"],
  ["an origin that only begins right", { headers: { Origin: `${origin}.evil.test` } }, 403, "wrong_origin"],
  ["no origin", { headers: { Origin: undefined } }, 403, "wrong_origin"],
  ["another method", { method: "DELETE" }, 405, "method_not_allowed"],
  ["a form", { headers: { "Content-Type": "application/x-www-form-urlencoded" } }, 415, "not_openpgp"],
  ["no media type", { body: new Uint8Array(3), headers: { "Content-Type": undefined } }, 415, "not_openpgp"],
  ["plain text", { body: "Hello" }, 400, "not_openpgp"],
  ["text beside the message", { body: `${message}Hello` }, 400, "not_openpgp"],
  ["no proof", { headers: { "X-Homing-Proof": undefined } }, 403, "bad_proof"],
  ["a proof of another form", { headers: { "X-Homing-Proof": "v2 1800000000 1" } }, 403, "bad_proof"],
  [
    "a proof with more behind it",
    { headers: { "X-Homing-Proof": `${await proof(message, now)} 1` } },
    403,
    "bad_proof",
  ],
  ["a counter that is none", { headers: { "X-Homing-Proof": await proofBy("x") } }, 403, "bad_proof"],
  ["a proof that lacks one bit", { headers: { "X-Homing-Proof": await proofBy("", 7) } }, 403, "bad_proof"],
  [
    "a proof for another message",
    { headers: { "X-Homing-Proof": await proof("other", 1_800_000_000) } },
    403,
    "bad_proof",
  ],
  ["an old proof", { time: old }, 403, "stale_proof"],
  ["a proof from the future", { time: early }, 403, "stale_proof"],
  ["too large", { body: message.padEnd(2000) }, 413, "too_large"],
  ["too large, and no length given", { body: ReadableStream.from([new Uint8Array(2000)]) }, 413, "too_large"],
  ["a length that is not true", { headers: { "Content-Length": "5000000" } }, 413, "too_large"],
];

for (const [name, change, status, error] of refused) {
  Deno.test(`refused: ${name}`, async () => {
    const { forwarded, serve } = rig();
    const answer = await serve(await request(change), { ...env, MAX_BYTES: "1999" }, "192.0.2.1");
    assert.equal(answer.status, status);
    const said = await answer.json();
    assert.equal(said.error, error);
    assert.ok(said.message.length > 10);
    assert.equal(answer.headers.get("Access-Control-Allow-Origin"), "*", "the page's owner has to see it");
    assert.equal(forwarded.length, 0);
  });
}

Deno.test("the page asks for the terms", async () => {
  const { serve } = rig();
  const answer = await serve(await request({ method: "GET" }), env, "192.0.2.1");
  assert.deepEqual(await answer.json(), { time: 1_800_000_000, bits: 8, most: 10 << 20 });
  assert.equal(answer.headers.get("Access-Control-Allow-Origin"), origin);
  const same = await serve(await request({ method: "GET", headers: { Origin: undefined } }), env, "192.0.2.1");
  assert.equal(same.status, 200, "a page of the worker's own origin names none");
  const foreign = await serve(
    await request({ method: "GET", headers: { Origin: "https://evil.test" } }),
    env,
    "192.0.2.1",
  );
  assert.equal(foreign.status, 403);
});

Deno.test("a browser asks before it sends", async () => {
  const { serve } = rig();
  const answer = await serve(await request({ method: "OPTIONS" }), env, "192.0.2.1");
  assert.equal(answer.status, 204);
  assert.equal(answer.headers.get("Access-Control-Allow-Origin"), origin);
  assert.match(answer.headers.get("Access-Control-Allow-Headers") ?? "", /X-Homing-Proof/);
  const foreign = await serve(
    await request({ method: "OPTIONS", headers: { Origin: "https://evil.test" } }),
    env,
    "192.0.2.1",
  );
  assert.equal(foreign.status, 403);
});

Deno.test("one client sends so many in ten minutes", async () => {
  const { clock, serve } = rig();
  const limited = { ...env, RATE: "2" };
  const send = async (/** @type {string} */ address) => {
    return serve(await request({ time: clock.now }), limited, address);
  };
  assert.equal((await send("192.0.2.1")).status, 202);
  clock.now += 100;
  assert.equal((await send("192.0.2.1")).status, 202);
  const third = await send("192.0.2.1");
  assert.equal(third.status, 429);
  assert.equal(third.headers.get("Retry-After"), "500");
  assert.equal((await send("192.0.2.2")).status, 202, "another client is another");
  clock.now += 500;
  assert.equal((await send("192.0.2.1")).status, 202);
  clock.now -= 700;
  assert.equal((await send("192.0.2.1")).status, 202, "a clock that jumps back locks nobody out");
  assert.equal((await send("192.0.2.1")).status, 202);
});

Deno.test("the oldest of too many clients is forgotten", async () => {
  const rates = new Rates(), config = configure({ ...env, RATE: "1" });
  const count = (/** @type {number} */ n) => rates.count(`10.0.${n >> 8}.${n & 255}`, config, 1_800_000_000);
  await count(0);
  await assert.rejects(count(0), Refusal);
  for (let n = 1; n <= 10_000; n++) await count(n);
  await count(0);
  await assert.rejects(count(10_000), Refusal);
});

Deno.test("a client that begins anew is not the oldest", async () => {
  const rates = new Rates(), config = configure({ ...env, RATE: "1" });
  const count = (/** @type {number} */ n, /** @type {number} */ at) => {
    return rates.count(`10.0.${n >> 8}.${n & 255}`, config, 1_800_000_000 + at);
  };
  await count(0, 0);
  await count(1, 0);
  for (let n = 0; n <= 10_000; n++) if (n !== 1) await count(n, 600);
  await assert.rejects(count(0, 600), Refusal);
});

Deno.test("Cloudflare's counter is asked, by a name that changes every day", async () => {
  const { clock, forwarded, serve } = rig();
  /** @type {string[]} */
  const keys = [];
  let success = true;
  const limiter = {
    limit: (/** @type {{ key: string }} */ { key }) => {
      keys.push(key);
      return Promise.resolve({ success });
    },
  };
  const bound = { ...env, RATE_LIMITER: limiter };
  await serve(await request(), bound, "192.0.2.1");
  await serve(await request(), bound, "192.0.2.1");
  clock.now += 86_400;
  success = false;
  const answer = await serve(await request({ time: clock.now }), bound, "192.0.2.1");
  assert.equal(answer.status, 429);
  assert.equal(answer.headers.get("Retry-After"), "60");
  assert.equal(forwarded.length, 2);
  assert.equal(keys[0], keys[1]);
  assert.notEqual(keys[2], keys[0]);
  assert.ok(keys.every((key) => /^[0-9a-f]{32}$/.test(key)));
  await serve(
    await request({ time: clock.now }),
    { ...bound, HOMING_FORM_SECRET: env.HOMING_FORM_SECRET + "." },
    "192.0.2.1",
  );
  assert.notEqual(keys[3], keys[2], "without the secret nobody finds the address by trying all");
});

Deno.test("network: what one subscriber holds", () => {
  /** @type {[address: string, want: string][]} */
  const cases = [
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:0DB8:0001:0002::1", "2001:db8:1:2"],
    ["2001:db8::1", "2001:db8:0:0"],
    ["::1", "0:0:0:0"],
    ["unknown", "unknown"],
  ];
  for (const [address, want] of cases) assert.equal(network(address), want, address);
});

Deno.test("a worker that is not set up says everything that is missing, and no secret", async () => {
  const { serve } = rig();
  const wrong = {
    HOMING_FORM_URL: "ftp://home.test",
    HOMING_FORM_SECRET: " ",
    ALLOWED_ORIGINS: "https://example.org/",
    MAX_BYTES: "lots",
    PROOF_BITS: "40",
    RATE: "0",
  };
  const answer = await serve(await request(), wrong, "192.0.2.1");
  assert.equal(answer.status, 500);
  const { error, message } = await answer.json();
  assert.equal(error, "misconfigured");
  for (const name of Object.keys(wrong)) assert.match(message, new RegExp(name));
  const half = await serve(await request(), { ...env, ALLOWED_ORIGINS: "" }, "192.0.2.1");
  assert.equal(half.status, 500);
  assert.doesNotMatch(await half.text(), /horse/);
  const short = await serve(await request(), { ...env, HOMING_FORM_SECRET: "horse".padEnd(31, ".") }, "192.0.2.1");
  assert.equal(short.status, 500);
  assert.doesNotMatch(await short.text(), /horse/);
});

Deno.test("a message that breaks off is not called too large", async () => {
  const { serve } = rig();
  const pull = (/** @type {ReadableStreamDefaultController} */ stream) => stream.error(new TypeError("reset"));
  const answer = await serve(await request({ body: new ReadableStream({ pull }) }), env, "192.0.2.1");
  assert.equal(answer.status, 500);
});

Deno.test("a failure inside is an answer, too", async () => {
  const { serve } = rig();
  const limiter = { limit: () => Promise.reject(new Error("internal: 10.1.2.3")) };
  const answer = await serve(await request(), { ...env, RATE_LIMITER: limiter }, "192.0.2.1");
  assert.equal(answer.status, 500);
  assert.doesNotMatch(await answer.text(), /10\.1\.2\.3/);
});

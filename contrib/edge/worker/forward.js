// The way to homing: signed, tried again briefly, its outcome passed on.

import { json, Refusal } from "./answer.js";
import { hmac } from "./hash.js";

const pauses = [0, 500, 2000]; // milliseconds before each try
const patience = 30_000; // milliseconds for one try; homing gives a body 20 s to arrive
const mostAnswer = 4096; // bytes of homing's answer

// What homing may answer besides 202 (the message is in its queue) and 503.
/** @type {Record<string, number>} */
const refusals = {
  not_openpgp: 400,
  bad_header: 400,
  wrong_key: 400,
  bad_signature: 401,
  stale: 401,
  replay: 409,
  too_large: 413,
  rate_limited: 429,
};
const passing = [408, 425, 429]; // from a proxy: soon it may be otherwise

/**
 * @typedef {object} Platform what the outside gives, so that tests can give it
 * @property {typeof fetch} fetch
 * @property {() => number} now seconds since 1970
 * @property {(milliseconds: number) => Promise<void>} pause
 */

/**
 * Sends a message to homing and returns its answer for the page.
 *
 * The nonce is made of the message: homing takes it once and answers 202 to each
 * repetition, whether this worker, another one or the page tries again after an
 * answer was lost.
 * @param {Uint8Array<ArrayBuffer>} body
 * @param {string} digest SHA-256 of the body in hex
 * @param {import("./config.js").Config} config
 * @param {Platform} platform
 * @returns {Promise<Response>}
 */
export async function forward(body, digest, config, platform) {
  const headers = await sign(digest, config.secret, platform.now());
  let outcome = away();
  for (const pause of pauses) {
    await platform.pause(pause);
    const answer = await attempt(body, headers, config.url, platform);
    if (answer instanceof Response) return answer;
    outcome = answer;
    if (outcome.code !== "unavailable") break;
  }
  throw outcome;
}

/**
 * @param {string} digest
 * @param {string} secret
 * @param {number} now
 */
async function sign(digest, secret, now) {
  const nonce = (await hmac(secret, `nonce\n${digest}`)).slice(0, 32);
  return {
    "Content-Type": "application/pgp-encrypted",
    "X-Homing-Timestamp": String(now),
    "X-Homing-Nonce": nonce,
    "X-Homing-Signature": `v1=${await hmac(secret, `v1\n${now}\n${nonce}\n${digest}`)}`,
  };
}

/**
 * @param {Uint8Array<ArrayBuffer>} body
 * @param {Record<string, string>} headers
 * @param {string} url
 * @param {Platform} platform
 * @returns {Promise<Response | Refusal>}
 */
async function attempt(body, headers, url, platform) {
  try {
    const signal = AbortSignal.timeout(patience);
    const answer = await platform.fetch(url, { method: "POST", headers, body, redirect: "manual", signal });
    return translate(answer, await content(answer));
  } catch {
    return away();
  }
}

/**
 * Reads homing's JSON; an empty object for what a proxy answered in its place.
 * @param {Response} answer
 * @returns {Promise<Record<string, unknown>>}
 */
async function content(answer) {
  try {
    const parsed = JSON.parse(new TextDecoder().decode(await readAtMost(answer.body, mostAnswer)));
    return typeof parsed === "object" && parsed !== null ? parsed : {};
  } catch (failure) {
    // An answer that was cut short is none: it may have been homing's yes.
    if (failure instanceof RangeError || failure instanceof SyntaxError) return {};
    throw failure;
  }
}

/**
 * @param {Response} answer
 * @param {Record<string, unknown>} said
 * @returns {Response | Refusal}
 */
function translate(answer, said) {
  if (answer.status === 202 && said.status === "accepted") {
    return json(202, { status: "accepted", id: said.id });
  }
  const code = String(said.error);
  if (refusals[code] === answer.status) {
    return new Refusal(answer.status, code, String(said.message), seconds(answer));
  }
  // What is not homing's own may be a proxy's before it: one that cannot reach
  // it just now, or one that has something else at this address.
  if (answer.status >= 500 || passing.includes(answer.status)) return away();
  return new Refusal(
    502,
    "misconfigured",
    `HOMING_FORM_URL is not homing's form receiver: ${answer.status} from there.`,
  );
}

/** @param {Response} answer */
function seconds(answer) {
  const wait = Number.parseInt(answer.headers.get("Retry-After") ?? "", 10);
  return Number.isNaN(wait) ? undefined : wait;
}

function away() {
  return new Refusal(503, "unavailable", "The mailbox cannot be reached just now; send again in a few minutes.", 300);
}

/**
 * Reads a stream to its end.
 * @param {ReadableStream<Uint8Array> | null} stream
 * @param {number} most octets
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 * @throws {RangeError} if it has more; the rest is not read
 */
export async function readAtMost(stream, most) {
  const chunks = [];
  let size = 0;
  for await (const chunk of stream ?? []) {
    size += chunk.length;
    if (size > most) throw new RangeError(`more than ${most} octets`);
    chunks.push(chunk);
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

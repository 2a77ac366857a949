// The edge worker of the contact form: takes an encrypted message from the
// page, and gives it to homing with a signature. It keeps and logs nothing, and
// could not read what it passes on.

import { json, preflight, readableBy, Refusal } from "./answer.js";
import { isEncrypted } from "./armor.js";
import { configure } from "./config.js";
import { forward, readAtMost } from "./forward.js";
import { hex, sha256 } from "./hash.js";
import { checkProof } from "./proof.js";
import { Rates } from "./rate.js";

const mediaType = "application/pgp-encrypted";

/** @type {import("./forward.js").Platform} */
const edge = {
  fetch: (input, init) => fetch(input, init),
  now: () => Math.floor(Date.now() / 1000),
  pause: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
};

/**
 * Makes the worker. What it returns answers one request; env holds the
 * variables of config.js, address is the client's as the platform knows it.
 * @param {import("./forward.js").Platform} [platform]
 */
export function makeWorker(platform = edge) {
  const rates = new Rates();

  /**
   * @param {Request} request
   * @param {import("./config.js").Environment} env
   * @param {string} address
   * @returns {Promise<Response>}
   */
  return async function serve(request, env, address) {
    const origin = request.headers.get("Origin");
    try {
      const config = configure(env);
      checkOrigin(request.method, origin, config.origins);
      const answer = await route(request, address, config);
      return readableBy(answer, origin ?? config.origins[0] ?? "null");
    } catch (failure) {
      const refusal = failure instanceof Refusal
        ? failure
        : new Refusal(500, "failed", "The worker failed; send again later.");
      return readableBy(refusal.answer(), "*");
    }
  };

  /**
   * @param {Request} request
   * @param {string} address
   * @param {import("./config.js").Config} config
   */
  function route(request, address, config) {
    switch (request.method) {
      case "OPTIONS":
        return preflight();
      case "GET":
        return json(200, { time: platform.now(), bits: config.bits, most: config.most });
      case "POST":
        return take(request, address, config);
    }
    throw new Refusal(405, "method_not_allowed", "Send a message with POST.");
  }

  /**
   * @param {Request} request
   * @param {string} address
   * @param {import("./config.js").Config} config
   */
  async function take(request, address, config) {
    if (request.headers.get("Content-Type")?.toLowerCase() !== mediaType) throw notEncrypted(415);
    await rates.count(address, config, platform.now());
    const body = await read(request, config.most);
    const digest = hex(await sha256(body));
    await checkProof(request.headers.get("X-Homing-Proof"), digest, config.bits, platform.now());
    if (!isEncrypted(body)) throw notEncrypted(400);
    return forward(body, digest, config, platform);
  }
}

/**
 * Refuses pages that are not the owner's. A browser names the page's origin in
 * every POST and in every request to another origin; programs may lie, and meet
 * the proof of work and the rate.
 * @param {string} method
 * @param {string | null} origin
 * @param {string[]} allowed
 */
function checkOrigin(method, origin, allowed) {
  if (origin === null && method === "GET") return;
  if (origin === null || !allowed.includes(origin)) {
    throw new Refusal(403, "wrong_origin", "This page may not send here; its origin is not in ALLOWED_ORIGINS.");
  }
}

/**
 * @param {Request} request
 * @param {number} most
 */
async function read(request, most) {
  try {
    if (Number(request.headers.get("Content-Length")) > most) throw new RangeError();
    return await readAtMost(request.body, most);
  } catch (failure) {
    if (!(failure instanceof RangeError)) throw failure;
    throw new Refusal(413, "too_large", `The encrypted message is larger than ${most} bytes; send less.`);
  }
}

/** @param {number} status */
function notEncrypted(status) {
  return new Refusal(status, "not_openpgp", `Only an encrypted OpenPGP message is taken, armored, as ${mediaType}.`);
}

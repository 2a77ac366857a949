// The proof of work: it costs the sender a moment, binds to one message and one
// minute, and needs neither a CAPTCHA nor a third service. form/proof.js makes it.

import { Refusal } from "./answer.js";
import { sha256 } from "./hash.js";

// How old a proof may be, in seconds: long enough to upload an attachment. The
// time in it was told to the page by a worker, whose clock may differ a little.
const oldest = 600;
const ahead = 60;

/**
 * Checks the header X-Homing-Proof: "v1 <time> <counter>", where the SHA-256 of
 * "v1\n<time>\n<SHA-256 of the body in hex>\n<counter>" begins with so many zero bits.
 * @param {string | null} header
 * @param {string} digest the body's, in hex
 * @param {number} bits
 * @param {number} now in seconds
 * @returns {Promise<void>}
 */
export async function checkProof(header, digest, bits, now) {
  const [, time, counter] = /^v1 (\d{10}) (\d{1,15})$/.exec(header ?? "") ?? [];
  if (time === undefined || counter === undefined) {
    throw new Refusal(403, "bad_proof", "The request has no proof of work; send it with the form's script.");
  }
  if (now - Number(time) > oldest || Number(time) - now > ahead) {
    throw new Refusal(403, "stale_proof", "The proof of work is too old; make a new one and send again.");
  }
  const hash = await sha256(`v1\n${time}\n${digest}\n${counter}`);
  if (leadingZeros(hash) < bits) {
    throw new Refusal(403, "bad_proof", "The proof of work is not for this message; send it with the form's script.");
  }
}

/** @param {Uint8Array} hash */
function leadingZeros(hash) {
  let zeros = 0;
  for (const octet of hash) {
    if (octet !== 0) return zeros + Math.clz32(octet) - 24;
    zeros += 8;
  }
  return zeros;
}

// What is slow, in a thread of its own, so that the page does not freeze: the
// encryption, and the proof of work. Started with the first character typed.

import { compose } from "./mime.js";
import { prove } from "./proof.js";

// OpenPGP.js 6.3.2, dist/openpgp.min.mjs. The hash finds a copy that was cut
// short, or that a content network rewrote; a test keeps it true.
const library = new URL("openpgp.min.mjs", import.meta.url);
const integrity = "sha384-kFDyrXqhlMAMMfGbe8xF3m/nGeyEfKmWjJCEBB1Pgg2VrS6TnTBoJ1QHxqbHGOHg";

/** @typedef {{ armored: string, fingerprint: string }} KeyOrder */
/** @typedef {{ letter: import("./mime.js").Letter, files: File[], time: number }} SealOrder */
/** @typedef {{ body: Uint8Array<ArrayBuffer>, time: number, bits: number }} ProveOrder */

/** @type {{ openpgp: any, key: any } | undefined} */
let ready;

const orders = { open, seal, proof };

/** Says why in a word that the page has a text for. */
class Failure extends Error {}

addEventListener("message", async ({ data: [order, what] }) => {
  try {
    postMessage({ done: await orders[/** @type {keyof typeof orders} */ (order)](what) });
  } catch (failure) {
    postMessage({ failed: failure instanceof Failure ? failure.message : "broken" });
  }
});

/**
 * Loads OpenPGP.js, and checks that the page's key is the one whose fingerprint it shows.
 * @param {KeyOrder} order
 */
async function open({ armored, fingerprint }) {
  const openpgp = await load();
  const key = await openpgp.readKey({ armoredKey: armored }).catch(() => undefined);
  if (key === undefined || key.isPrivate() || key.getFingerprint() !== fingerprint) throw new Failure("key");
  ready = { openpgp, key };
}

async function load() {
  try {
    const answer = await fetch(library, { integrity });
    if (!answer.ok) throw new Error(answer.statusText);
    return await import(library.href);
  } catch {
    throw new Failure("load");
  }
}

/**
 * Encrypts a letter. The time is the edge worker's: by the visitor's clock the
 * key may not be there yet, or have expired.
 * @param {SealOrder} order
 * @returns {Promise<Uint8Array>} the armored message
 */
async function seal({ letter, files, time }) {
  if (ready === undefined) throw new Failure("load");
  const { openpgp, key } = ready;
  const attachments = await Promise.all(files.map(read));
  const armored = await openpgp.encrypt({
    message: await openpgp.createMessage({ binary: compose(letter, attachments) }),
    encryptionKeys: key,
    date: new Date(time * 1000),
  }).catch(() => {
    throw new Failure("key");
  });
  return new TextEncoder().encode(armored);
}

/** @param {File} file */
async function read(file) {
  try {
    return { name: file.name, type: file.type, octets: new Uint8Array(await file.arrayBuffer()) };
  } catch {
    throw new Failure("file");
  }
}

/**
 * @param {ProveOrder} order
 * @returns {Promise<string>}
 */
async function proof({ body, time, bits }) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
  return prove(time, Array.from(digest, (octet) => octet.toString(16).padStart(2, "0")).join(""), bits);
}

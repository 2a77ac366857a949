// Puts the contact form together for a site: npm run site -- --key key.asc
// --endpoint https://... --address mail@example.org --out directory

import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const require = createRequire(import.meta.url);
const form = join(dirname(fileURLToPath(import.meta.url)), "form");
const parts = ["form.css", "form.js", "seal.js", "mime.js", "proof.js"];
const usage = "npm run site -- --key PUBLIC-KEY-FILE --endpoint WORKER-URL --address MAIL-ADDRESS --out DIRECTORY";

/** What the person who calls this has to mend. */
class Mistake extends Error {}

/** @returns {Record<"key" | "endpoint" | "address" | "out", string>} */
function options() {
  const names = ["key", "endpoint", "address", "out"];
  let values;
  try {
    ({ values } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) }));
  } catch (error) {
    throw new Mistake(`${error.message}\nusage: ${usage}`);
  }
  const missing = names.filter((name) => !values[name]);
  if (missing.length > 0) throw new Mistake(`--${missing.join(", --")} missing\nusage: ${usage}`);
  if (!URL.canParse(values.endpoint)) throw new Mistake(`--endpoint ${values.endpoint} is not a URL`);
  if (!/^[^\s@<>"]+@[^\s@<>"]+$/.test(values.address)) {
    throw new Mistake(`--address ${values.address} is not an address`);
  }
  return values;
}

/**
 * Reads the public key, and refuses one that would not do.
 * @param {string} file
 */
async function readKey(file) {
  const openpgp = require("openpgp");
  const octets = await readFile(file);
  const armored = octets.includes("-----BEGIN PGP");
  if (octets.includes("PRIVATE KEY")) {
    throw new Mistake(`${file} holds a secret key. Export the public one: gpg --export --armor`);
  }
  let keys;
  try {
    keys = await openpgp.readKeys(armored ? { armoredKeys: octets.toString() } : { binaryKeys: octets });
  } catch (error) {
    throw new Mistake(`${file} is not an OpenPGP key: ${error.message}`);
  }
  if (keys.length !== 1) {
    throw new Mistake(`${file} holds ${keys.length} keys; export one: gpg --export --armor ADDRESS`);
  }
  if (keys[0].isPrivate()) throw new Mistake(`${file} holds a secret key. Export the public one: gpg --export --armor`);
  await keys[0].getEncryptionKey().catch((error) => {
    throw new Mistake(`nothing can be encrypted to the key in ${file}: ${error.message}`);
  });
  return keys[0];
}

/** @param {string} text */
function html(text) {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

async function main() {
  const { key: file, endpoint, address, out } = options();
  const key = await readKey(file);
  const fingerprint = key.getFingerprint().toUpperCase().match(/.{4}/g).join(" ");
  const values = { ENDPOINT: endpoint, ADDRESS: address, FINGERPRINT: fingerprint, KEY: key.armor().trim() };
  const page = await readFile(join(form, "index.html"), "utf8");
  await mkdir(out, { recursive: true });
  await writeFile(join(out, "index.html"), page.replace(/@([A-Z]+)@/g, (_, name) => html(values[name])));
  for (const part of parts) await copyFile(join(form, part), join(out, part));
  const library = dirname(dirname(require.resolve("openpgp")));
  await copyFile(join(library, "openpgp.min.mjs"), join(out, "openpgp.min.mjs"));
  const expires = await key.getExpirationTime();
  console.log(`${out}: index.html, ${parts.join(", ")}, openpgp.min.mjs
encrypts to ${fingerprint}${
    expires instanceof Date ? `, a key that expires on ${expires.toISOString().slice(0, 10)}` : ""
  }
sends to ${endpoint}`);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Mistake ? error.message : error);
  process.exitCode = 1;
}

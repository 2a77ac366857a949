// Hashes by WebCrypto, which every edge platform has.

const encoder = new TextEncoder();

/**
 * @param {string | Uint8Array<ArrayBuffer>} message
 * @returns {Promise<Uint8Array>}
 */
export async function sha256(message) {
  const octets = typeof message === "string" ? encoder.encode(message) : message;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", octets));
}

/**
 * @param {string} secret
 * @param {string} message
 * @returns {Promise<string>} HMAC-SHA256 in hex
 */
export async function hmac(secret, message) {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, ["sign"]);
  return hex(new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(message))));
}

/**
 * @param {Uint8Array} octets
 * @returns {string} lower-case
 */
export function hex(octets) {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
}

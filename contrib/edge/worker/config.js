// What the worker is told: environment variables, or Cloudflare's variables and secrets.

import { Refusal } from "./answer.js";

/**
 * @typedef {object} Limiter Cloudflare's rate limiting binding.
 * @property {(of: { key: string }) => Promise<{ success: boolean }>} limit
 */

/** @typedef {Record<string, unknown>} Environment */

/**
 * @typedef {object} Config
 * @property {string} url where homing takes forms
 * @property {string} secret what homing knows as HOMING_FORM_SECRET
 * @property {string[]} origins of the pages that may send, as in the header Origin
 * @property {number} most bytes of an armored message
 * @property {number} bits zero bits that a proof of work begins with
 * @property {number} rate messages that one client may send in ten minutes
 * @property {Limiter | undefined} limiter
 */

// The limits of the numbers: a proof of 24 bits takes a telephone minutes.
const numbers = {
  MAX_BYTES: { usual: 10 << 20, least: 1 << 10, most: 64 << 20 },
  PROOF_BITS: { usual: 18, least: 8, most: 24 },
  RATE: { usual: 10, least: 1, most: 10_000 },
};

/** The variables' names: Deno is asked for these and no others. */
export const variables = ["HOMING_FORM_URL", "HOMING_FORM_SECRET", "ALLOWED_ORIGINS", ...Object.keys(numbers)];

/**
 * Reads the configuration. A worker that is not set up refuses with all
 * mistakes at once; values are not repeated, for one is a secret.
 * @param {Environment} env
 * @returns {Config}
 */
export function configure(env) {
  /** @type {string[]} */
  const mistakes = [];
  /** @param {string} name */
  const text = (name) => typeof env[name] === "string" ? env[name].trim() : "";
  /** @param {keyof typeof numbers} name */
  const number = (name) => {
    const { usual, least, most } = numbers[name];
    const given = text(name) === "" ? usual : Number(text(name));
    if (!Number.isInteger(given) || given < least || given > most) {
      mistakes.push(`${name} must be a whole number from ${least} to ${most}`);
    }
    return given;
  };

  const url = text("HOMING_FORM_URL");
  if (!isWebAddress(url)) mistakes.push("HOMING_FORM_URL must be the URL of homing's form receiver");
  const secret = text("HOMING_FORM_SECRET");
  if (secret.length < 32) {
    mistakes.push("HOMING_FORM_SECRET must be the secret that homing knows, of 32 characters at least");
  }
  const origins = text("ALLOWED_ORIGINS").split(",").map((origin) => origin.trim()).filter(Boolean);
  if (origins.length === 0 || !origins.every(isOrigin)) {
    mistakes.push(
      "ALLOWED_ORIGINS must be the origins of your pages, such as https://example.org, separated by commas",
    );
  }
  const config = { url, secret, origins, most: number("MAX_BYTES"), bits: number("PROOF_BITS"), rate: number("RATE") };
  if (mistakes.length > 0) {
    throw new Refusal(500, "misconfigured", `The worker is not set up: ${mistakes.join("; ")}.`);
  }
  return { ...config, limiter: isLimiter(env.RATE_LIMITER) ? env.RATE_LIMITER : undefined };
}

/** @param {string} text */
function isWebAddress(text) {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

/** @param {string} text */
function isOrigin(text) {
  return isWebAddress(text) && new URL(text).origin === text;
}

/**
 * @param {unknown} binding
 * @returns {binding is Limiter}
 */
function isLimiter(binding) {
  return typeof binding === "object" && binding !== null && "limit" in binding;
}

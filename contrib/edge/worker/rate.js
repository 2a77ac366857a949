// How often one client may send. Counted in this instance's memory, under a
// name that cannot be read back and that changes every day.

import { Refusal } from "./answer.js";
import { hmac } from "./hash.js";

const window = 600; // seconds
const mostClients = 10_000; // beyond them the oldest is forgotten

/** Counts what clients send. One is made when the worker starts. */
export class Rates {
  /** @type {Map<string, { began: number, count: number }>} */
  #clients = new Map();

  /**
   * Counts a message, and refuses it where the client sent too many: by this
   * instance's own count, and by Cloudflare's where the binding is there.
   * @param {string} address the client's
   * @param {import("./config.js").Config} config
   * @param {number} now in seconds
   * @returns {Promise<void>}
   */
  async count(address, config, now) {
    const client = await pseudonym(address, config.secret, now);
    const wait = this.#wait(client, config.rate, now);
    if (wait > 0) throw tooMany(wait);
    if (config.limiter && !(await config.limiter.limit({ key: client })).success) throw tooMany(60);
  }

  /**
   * @param {string} client
   * @param {number} rate
   * @param {number} now
   * @returns {number} seconds until it may send again; 0 for at once
   */
  #wait(client, rate, now) {
    const known = this.#clients.get(client);
    if (known && now - known.began < window && now >= known.began) {
      known.count++;
      return known.count > rate ? known.began + window - now : 0;
    }
    this.#clients.delete(client); // so that it becomes the youngest
    this.#clients.set(client, { began: now, count: 1 });
    if (this.#clients.size > mostClients) {
      const [oldest] = this.#clients.keys();
      if (oldest !== undefined) this.#clients.delete(oldest);
    }
    return 0;
  }
}

/** @param {number} wait */
function tooMany(wait) {
  return new Refusal(429, "rate_limited", "Too many messages came from your network; wait and send again.", wait);
}

/**
 * The salt is the day, keyed with the secret: without it nobody can try all
 * addresses, and with it nobody can follow one from day to day.
 * @param {string} address
 * @param {string} secret
 * @param {number} now in seconds
 */
async function pseudonym(address, secret, now) {
  const day = new Date(now * 1000).toISOString().slice(0, 10);
  return (await hmac(secret, `client\n${day}\n${network(address)}`)).slice(0, 32);
}

/**
 * Returns what one subscriber holds: an IPv4 address, or the first 64 bits of an IPv6 one.
 * @param {string} address
 * @returns {string}
 */
export function network(address) {
  if (!address.includes(":")) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped) return mapped;
  const [head = "", tail] = address.toLowerCase().split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail ? tail.split(":") : [];
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array(zeros).fill("0"), ...right];
  return groups.slice(0, 4).map((group) => parseInt(group, 16).toString(16)).join(":");
}

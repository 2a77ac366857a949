// The proof of work: a counter with which a hash of the message begins with
// enough zero bits. worker/proof.js checks it. WebCrypto would answer each of
// the many small hashes through a promise, several times slower than this.

const round = constants();
const schedule = new Int32Array(64);

/**
 * Returns the header X-Homing-Proof for a message: see worker/proof.js. The
 * work doubles with every bit; it is a matter of luck how long it takes.
 * @param {number} time as the edge worker told it, in seconds
 * @param {string} digest SHA-256 of the message in hex
 * @param {number} bits
 * @returns {string}
 */
export function prove(time, digest, bits) {
  const fixed = `v1\n${time}\n${digest}\n`;
  // All but the counter fills more than one block: the first is hashed once.
  const middle = compress(start(), block(fixed, 0));
  for (let counter = 0;; counter++) {
    const message = fixed + counter;
    const [first, second] = compress(middle, last(message));
    if (leadingZeros(first, second) >= bits) return `v1 ${time} ${counter}`;
  }
}

/**
 * @param {number} first
 * @param {number} second
 */
function leadingZeros(first, second) {
  const zeros = Math.clz32(first);
  return zeros < 32 ? zeros : 32 + Math.clz32(second);
}

/**
 * Returns a block of SHA-256 (FIPS 180-4, section 5.2.1): 16 words.
 * @param {string} message ASCII
 * @param {number} at where the block begins
 */
function block(message, at) {
  const words = new Int32Array(16);
  for (let i = at; i < Math.min(at + 64, message.length); i++) {
    words[(i - at) >> 2] |= message.charCodeAt(i) << (24 - 8 * (i & 3));
  }
  return words;
}

/**
 * Returns the second and last block, with the padding of section 5.1.1.
 * @param {string} message of 64 to 119 characters
 */
function last(message) {
  const words = block(message, 64);
  const end = message.length - 64;
  words[end >> 2] |= 0x80 << (24 - 8 * (end & 3));
  words[15] = message.length * 8;
  return words;
}

/**
 * The compression of FIPS 180-4, section 6.2.2.
 * @param {Int32Array} state 8 words
 * @param {Int32Array} words 16
 * @returns {Int32Array} the next state
 */
function compress(state, words) {
  schedule.set(words);
  for (let t = 16; t < 64; t++) {
    const x = schedule[t - 15], y = schedule[t - 2];
    const s0 = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ (x >>> 3);
    const s1 = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ (y >>> 10);
    schedule[t] = schedule[t - 16] + s0 + schedule[t - 7] + s1;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < 64; t++) {
    const s1 = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
    const s0 = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10);
    const one = (h + s1 + ((e & f) ^ (~e & g)) + round[t] + schedule[t]) | 0;
    const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g, g = f, f = e, e = (d + one) | 0;
    d = c, c = b, b = a, a = (one + two) | 0;
  }
  const next = new Int32Array([a, b, c, d, e, f, g, h]);
  for (let i = 0; i < 8; i++) next[i] += state[i];
  return next;
}

/** The first 32 bits of the fractional parts of the square roots of the first 8 primes. */
function start() {
  return new Int32Array(primes(8).map((prime) => fraction(Math.sqrt(prime))));
}

/** The same of the cube roots of the first 64 primes. */
function constants() {
  return new Int32Array(primes(64).map((prime) => fraction(Math.cbrt(prime))));
}

/** @param {number} x */
function fraction(x) {
  return (x % 1) * 2 ** 32 | 0;
}

/**
 * @param {number} count
 * @returns {number[]}
 */
function primes(count) {
  /** @type {number[]} */
  const found = [];
  for (let n = 2; found.length < count; n++) {
    if (found.every((prime) => n % prime !== 0)) found.push(n);
  }
  return found;
}

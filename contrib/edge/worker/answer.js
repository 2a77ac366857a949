// The worker's answers: JSON always, nothing to be kept by caches.

/** A request that is answered with an error: {"error": code, "message": what to do}. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   * @param {number} [wait] seconds until another try is worth it
   */
  constructor(status, code, message, wait) {
    super(message);
    this.status = status;
    this.code = code;
    this.wait = wait;
  }

  /** @returns {Response} */
  answer() {
    const answer = json(this.status, { error: this.code, message: this.message });
    if (this.wait !== undefined) answer.headers.set("Retry-After", String(this.wait));
    return answer;
  }
}

/**
 * @param {number} status
 * @param {object} content
 * @returns {Response}
 */
export function json(status, content) {
  return new Response(`${JSON.stringify(content)}\n`, {
    status,
    headers: {
      "Content-Type": "application/json",
      "Cache-Control": "no-store",
      "X-Content-Type-Options": "nosniff",
    },
  });
}

/**
 * Lets pages of this origin read the answer, or those of any for "*": a refusal
 * holds nothing secret, and the owner of a page has to see it.
 * @param {Response} answer
 * @param {string} origin
 * @returns {Response}
 */
export function readableBy(answer, origin) {
  answer.headers.set("Access-Control-Allow-Origin", origin);
  answer.headers.set("Access-Control-Expose-Headers", "Retry-After");
  answer.headers.append("Vary", "Origin");
  return answer;
}

/**
 * Answers a browser that asks whether its page may send.
 * @returns {Response}
 */
export function preflight() {
  return new Response(null, {
    status: 204,
    headers: {
      "Access-Control-Allow-Methods": "GET, POST",
      "Access-Control-Allow-Headers": "Content-Type, X-Homing-Proof",
      "Access-Control-Max-Age": "7200",
    },
  });
}

// Entry for Cloudflare Workers; see wrangler.toml.

import { makeWorker } from "./worker.js";

const serve = makeWorker();

export default {
  /**
   * @param {Request} request
   * @param {import("./config.js").Environment} env
   * @returns {Promise<Response>}
   */
  fetch(request, env) {
    // Cloudflare sets it, and drops one that the client sent.
    return serve(request, env, request.headers.get("CF-Connecting-IP") ?? "unknown");
  },
};

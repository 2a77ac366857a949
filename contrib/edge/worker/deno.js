// Entry for Deno, Deno Deploy and Bunny Edge Scripting, which is Deno with a
// global of its own.

import { variables } from "./config.js";
import { makeWorker } from "./worker.js";

const serve = makeWorker();
const env = Object.fromEntries(variables.map((name) => [name, Deno.env.get(name)]));

/** @type {{ Bunny?: { v1: { serve(handler: (request: Request) => Promise<Response>): void } } }} */
const { Bunny } = /** @type {object} */ (globalThis);

if (Bunny) {
  // Bunny sets it: https://docs.bunny.net/cdn/request-headers-to-origin
  Bunny.v1.serve((request) => serve(request, env, request.headers.get("X-Real-IP") ?? "unknown"));
} else {
  Deno.serve((request, { remoteAddr }) => {
    return serve(request, env, "hostname" in remoteAddr ? remoteAddr.hostname : "unknown");
  });
}

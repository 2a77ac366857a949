// Stands in for Bunny's runtime, whose global this is, around the bundled worker.

globalThis.Bunny = {
  v1: { serve: (handler) => Deno.serve((request) => handler(request)) },
};
await import(Deno.args[0]);

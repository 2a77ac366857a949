import assert from "node:assert/strict";
import { createHash } from "node:crypto";

import { prove } from "./proof.js";

const digest = createHash("sha256").update("message").digest("hex");

/** @param {string} proof */
function bits(proof) {
  const [, time, counter] = proof.split(" ");
  const hash = createHash("sha256").update(`v1\n${time}\n${digest}\n${counter}`).digest("hex");
  return BigInt(`0x1${hash}`).toString(2).slice(1).search("1");
}

for (const want of [0, 1, 7, 8, 12, 16]) {
  Deno.test(`prove: ${want} bits`, () => {
    const proof = prove(1_800_000_000, digest, want);
    assert.match(proof, /^v1 1800000000 \d+$/);
    assert.ok(bits(proof) >= want, `${proof} has ${bits(proof)} bits`);
  });
}

Deno.test("prove: the first counter that serves, as another SHA-256 finds it", () => {
  const proof = prove(1_800_000_000, digest, 14);
  const [, , counter] = proof.split(" ");
  for (let n = 0; n < Number(counter); n++) assert.ok(bits(`v1 1800000000 ${n}`) < 14, `counter ${n} serves`);
});

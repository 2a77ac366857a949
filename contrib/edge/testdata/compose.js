// Composes the letters on standard input, for Go to take apart again.

import { compose } from "../form/mime.js";

const octets = (base64) => Uint8Array.from(atob(base64 ?? ""), (character) => character.charCodeAt(0));

const letters = await new Response(Deno.stdin.readable).json();
const entities = letters.map(({ letter, attachments }) => {
  const files = (attachments ?? []).map((file) => ({ ...file, octets: octets(file.octets) }));
  return compose({ ...letter, lines: letter.lines ?? [] }, files);
});
console.log(JSON.stringify(entities.map((entity) => btoa(String.fromCharCode(...entity)))));

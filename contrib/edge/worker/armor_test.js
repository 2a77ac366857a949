import assert from "node:assert/strict";

import { isEncrypted, packets } from "./armor.js";

const read = (/** @type {string} */ name) => Deno.readTextFileSync(new URL(`../testdata/${name}`, import.meta.url));
const gnupg = read("gnupg.asc"), openpgpjs = read("openpgpjs.asc");
const encoder = new TextEncoder();

/** @param {number[]} octets */
function armor(octets) {
  return `-----BEGIN PGP MESSAGE-----\n\n${btoa(String.fromCharCode(...octets))}\n-----END PGP MESSAGE-----\n`;
}

/** Packets in the present format. @param {[type: number, body: number[]][]} packets */
function framed(...packets) {
  return armor(packets.flatMap(([type, body]) => [0xc0 | type, body.length, ...body]));
}

const session = [3, 1, 2, 3, 4, 5, 6, 7, 8, 18, 1, 2];
const data = [1, ...Array(60).fill(7)];
const plain = [...encoder.encode("b\0    This is not encrypted at all, but looks like base64.")];

/** @type {[name: string, text: string, want: boolean][]} */
const cases = [
  ["GnuPG's", gnupg, true],
  ["OpenPGP.js's", openpgpjs, true],
  ["with CR LF", gnupg.replaceAll("\n", "\r\n"), true],
  ["without a checksum", gnupg.replace(/\n=....\n/, "\n"), true],
  ["without a line end", gnupg.trimEnd(), true],
  ["to two keys", framed([1, session], [1, session], [18, data]), true],

  ["empty", "", false],
  ["plain text", "Hello, this is plain text.", false],
  ["only the armor's lines", "-----BEGIN PGP MESSAGE-----\n\n\n-----END PGP MESSAGE-----\n", false],
  ["text before", `Hello\n${gnupg}`, false],
  ["text behind", `${gnupg}Hello\n`, false],
  ["text as a header", gnupg.replace("\n\n", "\nComment: Hello, this is plain text\n\n"), false],
  ["text in the armor", gnupg.replace("\n=", "\nHello, this is plain\n="), false],
  ["white space that says something", gnupg.replace("\n=", " \t \n="), false],
  ["text as base64 in the armor", armor([...encoder.encode("Hello, this is plain text")]), false],
  ["text behind the padding", gnupg.replace(/\n=(....)\n/, "\n=$1\n=$1\n"), false],
  ["two messages", gnupg + gnupg, false],
  ["a public key", gnupg.replaceAll("MESSAGE", "PUBLIC KEY BLOCK"), false],
  ["broken base64", gnupg.replace("\n=", "x\n="), false],
  ["a literal packet", framed([11, plain]), false],
  ["a compressed packet", framed([8, plain]), false],
  ["a signed message", framed([4, session], [11, plain], [2, session]), false],
  ["a literal packet behind a session key", framed([1, session], [11, plain]), false],
  ["a literal packet behind the encrypted one", framed([1, session], [18, data], [11, plain]), false],
  ["a marker before", framed([10, [80, 71, 80]], [1, session], [18, data]), false],
  ["no session key", framed([18, data]), false],
  ["no data", framed([1, session]), false],
  ["to a password", framed([3, [4, 9, 0, 2]], [18, data]), false],
  ["GnuPG's own packet, which homing does not take", framed([1, session], [20, data]), false],
  ["without integrity protection", framed([1, session], [9, data]), false],
  ["octets behind the last packet", armor([0xc1, 1, 3, 0xd2, 1, 1, 0x41, 0x42]), false],
  ["cut short", armor([0xc1, 1, 3, 0xd2, 60, 1, 2, 3]), false],
];

for (const [name, text, want] of cases) {
  Deno.test(`isEncrypted: ${name}`, () => assert.equal(isEncrypted(encoder.encode(text)), want));
}

Deno.test("isEncrypted: other characters than ASCII", () => {
  assert.equal(isEncrypted(new Uint8Array([...encoder.encode(gnupg), 0xff, 0xfe])), false);
});

Deno.test("packets: every form of a length", () => {
  const octets = (/** @type {number[]} */ ...all) => String.fromCharCode(...all);
  /** @type {[name: string, octets: string, want: number[] | undefined][]} */
  const forms = [
    ["one octet", octets(0xd2, 2, 0, 0), [18]],
    ["two octets", octets(0xd2, 192, 8) + "x".repeat(200), [18]],
    ["five octets", octets(0xd2, 255, 0, 0, 0, 3) + "xxx", [18]],
    ["in parts", octets(0xd2, 225) + "xx" + octets(224) + "x" + octets(1) + "x", [18]],
    ["old, one octet", octets(0x84, 1, 0), [1]],
    ["old, two octets", octets(0x85, 0, 1, 0), [1]],
    ["old, four octets", octets(0x86, 0, 0, 0, 1, 0), [1]],
    ["old, undetermined", octets(0x87, 0, 0, 0, 0, 0, 0, 0, 0), undefined],
    ["no packet", "Hello", undefined],
    ["no packet, of the right length", octets(0x52, 1, 0), undefined],
    ["half a length, old", octets(0x85, 0), undefined],
    ["parts without an end", octets(0xd2, 225) + "xx", undefined],
    ["a length without octets", octets(0xd2, 255, 255, 255, 255, 255), undefined],
    ["half a length", octets(0xd2, 192), undefined],
    ["nothing behind the type", octets(0xd2), undefined],
    ["nothing", "", []],
  ];
  for (const [name, given, want] of forms) assert.deepEqual(packets(given), want, name);
});

Deno.test("isEncrypted: a message cut or changed anywhere ends in an answer", () => {
  const octets = encoder.encode(gnupg);
  for (let at = 0; at < octets.length; at++) {
    assert.equal(isEncrypted(octets.subarray(0, at)), at >= octets.length - 1, `cut at ${at}`);
    const changed = octets.slice();
    changed[at] = 0x7e; // ~ is in no armor
    assert.equal(isEncrypted(changed), false, `changed at ${at}`);
  }
});

Deno.test("isEncrypted: ten million octets", () => {
  const part = [0xd2, 0xff, 0, 0x98, 0x96, 0x80];
  const large = btoa(String.fromCharCode(0xc1, 1, 3, ...part) + "x".repeat(10_000_000));
  const lines = (large.match(/.{1,76}/g) ?? []).join("\n");
  assert.equal(
    isEncrypted(encoder.encode(`-----BEGIN PGP MESSAGE-----\n\n${lines}\n-----END PGP MESSAGE-----\n`)),
    true,
  );
});

// The letter inside the encryption: a whole MIME entity, so that a mail program
// shows text and attachments once it has decrypted it (RFC 3156, section 4).

/**
 * @typedef {object} Letter
 * @property {string} subject
 * @property {string} name of the sender, or empty
 * @property {string} address to answer to, or empty
 * @property {[label: string, value: string][]} lines put above the text, where every mail program shows them
 * @property {string} text
 */

/**
 * @typedef {object} Attachment
 * @property {string} name
 * @property {string} type as the browser guessed it
 * @property {Uint8Array} octets
 */

/**
 * Composes the entity. Subject and Reply-To are headers protected as in
 * draft-autocrypt-lamps-protected-headers: Thunderbird and others show them in
 * place of the outer ones. (RFC 9788 would have every header inside, From and
 * Date too, and those are homing's to write.) Thunderbird looks for them in a
 * multipart/mixed only, so it is one without attachments, too.
 * @param {Letter} letter
 * @param {Attachment[]} attachments
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function compose(letter, attachments) {
  // "=_" appears neither in quoted-printable nor in base64.
  const boundary = `=_${crypto.randomUUID()}`;
  const parts = [text(letter), ...attachments.map(attachment)];
  const lines = [
    `Content-Type: multipart/mixed; protected-headers="v1";`,
    ` boundary="${boundary}"`,
    `Subject: ${unstructured(letter.subject)}`,
    ...replyTo(letter),
    "",
    ...parts.flatMap((part) => [`--${boundary}`, part]),
    `--${boundary}--`,
    "",
  ];
  return new TextEncoder().encode(lines.join("\r\n"));
}

/** @param {Letter} letter */
function replyTo({ name, address }) {
  if (!/^[^\s"(),:;<>@[\\\]]+@[^\s"(),:;<>@[\\\]]+$/.test(address) || !isASCII(address)) return [];
  return [name.trim() === "" ? `Reply-To: ${address}` : `Reply-To: ${phrase(name)}\r\n <${address}>`];
}

/** @param {Letter} letter */
function text({ lines, text }) {
  const above = lines.map(([label, value]) => `${label}: ${oneLine(value)}\n`).join("");
  return [
    "Content-Type: text/plain; charset=utf-8",
    "Content-Transfer-Encoding: quoted-printable",
    "",
    quotedPrintable(above === "" ? text : `${above}\n${text}`),
  ].join("\r\n");
}

/** @param {Attachment} file */
function attachment({ name, type, octets }) {
  return [
    `Content-Type: ${mediaType(type)}`,
    "Content-Transfer-Encoding: base64",
    `Content-Disposition: attachment;\r\n ${filename(name)}`,
    "",
    base64(octets),
  ].join("\r\n");
}

/**
 * Returns a media type as the browser gave it, where it is one that may be sent
 * as base64 (RFC 2046, section 5: messages and multiparts may not).
 * @param {string} type
 */
function mediaType(type) {
  const known = /^[a-z]+\/[a-z0-9][a-z0-9!#$&^_.+-]*$/.test(type) && !/^(?:message|multipart)\//.test(type);
  return known ? type : "application/octet-stream";
}

/**
 * Returns the parameter filename, in pieces where it is long or not ASCII (RFC 2231).
 * @param {string} given
 */
function filename(given) {
  const name = oneLine(given).replace(/[/\\]/g, "_") || "attachment";
  if (/^[\w .()+,-]{1,60}$/.test(name)) return `filename="${name}"`;
  const escaped = Array.from(
    new TextEncoder().encode(name),
    (octet) => /[\w.-]/.test(String.fromCharCode(octet)) ? String.fromCharCode(octet) : percent(octet),
  );
  const pieces = chunks(escaped, 20).map((piece, i) => `filename*${i}*=${i === 0 ? "UTF-8''" : ""}${piece.join("")}`);
  return pieces.join(";\r\n ");
}

/** @param {number} octet */
function percent(octet) {
  return `%${hex(octet)}`;
}

/** @param {number} octet */
function hex(octet) {
  return octet.toString(16).toUpperCase().padStart(2, "0");
}

/**
 * Returns a header's text, in encoded words where it is not ASCII or long (RFC 2047).
 * @param {string} given
 */
function unstructured(given) {
  const line = oneLine(given);
  return isASCII(line) && line.length <= 60 && !line.includes("=?") ? line : encodedWords(line);
}

/**
 * Returns a name before an address: in quotes, or in encoded words.
 * @param {string} given
 */
function phrase(given) {
  const line = oneLine(given);
  if (!isASCII(line) || line.length > 60 || line.includes("=?")) return encodedWords(line);
  return `"${line.replace(/["\\]/g, "\\$&")}"`;
}

/** @param {string} line */
function encodedWords(line) {
  const encoder = new TextEncoder();
  // At most 45 octets are 60 characters of base64, and the word 72 long; a
  // character of UTF-8, of up to 4 octets, is not torn apart.
  return chunks(Array.from(line), 11)
    .map((characters) => `=?UTF-8?B?${btoa(binary(encoder.encode(characters.join(""))))}?=`)
    .join("\r\n ");
}

/**
 * Encodes text with lines of at most 76 characters (RFC 2045, section 6.7).
 * @param {string} given
 */
function quotedPrintable(given) {
  const lines = given.replace(/\r\n?/g, "\n").split("\n");
  return lines.map(quoteLine).join("\r\n");
}

/** @param {string} line */
function quoteLine(line) {
  const octets = new TextEncoder().encode(line);
  let out = "", width = 0;
  octets.forEach((octet, i) => {
    const plain = isPlain(octet, i === octets.length - 1) && !(i === 0 && line.startsWith("From "));
    const next = plain ? String.fromCharCode(octet) : `=${hex(octet)}`;
    if (width + next.length > 75) {
      out += "=\r\n";
      width = 0;
    }
    out += next;
    width += next.length;
  });
  return out;
}

/**
 * @param {number} octet
 * @param {boolean} isLast white space at a line's end gets lost
 */
function isPlain(octet, isLast) {
  if (octet === 0x20 || octet === 0x09) return !isLast;
  return octet > 0x20 && octet < 0x7f && octet !== 0x3d;
}

/** @param {Uint8Array} octets */
function base64(octets) {
  const lines = [];
  for (let at = 0; at < octets.length; at += 57) lines.push(btoa(binary(octets.subarray(at, at + 57))));
  return lines.join("\r\n");
}

/** @param {Uint8Array} octets few */
function binary(octets) {
  return String.fromCharCode(...octets);
}

/** @param {string} line */
function isASCII(line) {
  return /^[\x20-\x7e]*$/.test(line);
}

/**
 * Returns text without line breaks and other control characters: no header can be made of it.
 * @param {string} given
 */
function oneLine(given) {
  // deno-lint-ignore no-control-regex
  return given.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
}

/**
 * @template T
 * @param {T[]} all
 * @param {number} size
 * @returns {T[][]}
 */
function chunks(all, size) {
  const pieces = [];
  for (let at = 0; at < all.length; at += size) pieces.push(all.slice(at, at + size));
  return pieces;
}

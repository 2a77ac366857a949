// Is it an OpenPGP message, encrypted, and nothing beside it? What is inside
// only the key tells; what can be seen without it is checked to the last octet.

// RFC 9580, section 6.2, in its strictest form: no header lines, in which text
// could travel, nothing before, nothing behind. The checksum may be there.
const head = /^-----BEGIN PGP MESSAGE-----\r?\n\r?\n/;
const foot = /\r?\n(?:=[A-Za-z0-9+/]{4}\r?\n)?-----END PGP MESSAGE-----\s*$/;
const tail = 64; // characters, in which the foot ends
const strange = /[^A-Za-z0-9+/=\r\n]/;

// Packet types (RFC 9580, section 5).
const sessionKey = 1; // encrypted to a public key
const sealed = 18; // encrypted, and integrity protected

/**
 * Tells whether these octets are the armor of one message that is encrypted to
 * a public key.
 * @param {Uint8Array} body
 * @returns {boolean}
 */
export function isEncrypted(body) {
  const octets = dearmor(new TextDecoder("latin1").decode(body));
  const types = octets === undefined ? undefined : packets(octets);
  if (types === undefined || types.length < 2) return false;
  return types.pop() === sealed && types.every((type) => type === sessionKey);
}

/**
 * Takes the armor off; undefined where it is not armor, or not only armor.
 * @param {string} text
 * @returns {string | undefined}
 */
function dearmor(text) {
  const begin = head.exec(text)?.[0].length;
  const end = foot.exec(text.slice(-tail))?.[0].length;
  if (begin === undefined || end === undefined) return undefined;
  const base64 = text.slice(begin, -end);
  if (strange.test(base64)) return undefined;
  try {
    return atob(base64); // ignores line ends; pads and their place it checks
  } catch {
    return undefined;
  }
}

/**
 * Returns the packets' types in order; undefined where the octets are not
 * packets from the first to the last.
 * @param {string} octets
 * @returns {number[] | undefined}
 */
export function packets(octets) {
  const types = [];
  let at = 0;
  while (at < octets.length) {
    const packet = octets.charCodeAt(at) & 0x40 ? current(octets, at) : old(octets, at);
    if (packet === undefined || packet.end > octets.length) return undefined;
    types.push(packet.type);
    at = packet.end;
  }
  return types;
}

/**
 * Reads a header of the present format, whose body may come in parts.
 * @param {string} octets
 * @param {number} at
 */
function current(octets, at) {
  const first = octets.charCodeAt(at);
  if (first < 0xc0) return undefined;
  let end = at + 1;
  let partial = true;
  while (partial) {
    const length = octets.charCodeAt(end); // NaN at the end: no comparison holds
    if (length < 192) {
      end += 1 + length;
      partial = false;
    } else if (length < 224) {
      end += 2 + ((length - 192) << 8) + octets.charCodeAt(end + 1) + 192;
      partial = false;
    } else if (length < 255) {
      end += 1 + 2 ** (length & 31);
    } else if (length === 255) {
      end += 5 + number(octets, end + 1, 4);
      partial = false;
    } else {
      return undefined;
    }
  }
  return Number.isNaN(end) ? undefined : { type: first & 63, end };
}

/**
 * Reads a header of the old format, which GnuPG still writes for session keys.
 * One of undetermined length is refused: its end cannot be told.
 * @param {string} octets
 * @param {number} at
 */
function old(octets, at) {
  const first = octets.charCodeAt(at);
  if (first < 0x80 || (first & 3) === 3) return undefined;
  const size = 1 << (first & 3);
  const end = at + 1 + size + number(octets, at + 1, size);
  return Number.isNaN(end) ? undefined : { type: (first >> 2) & 15, end };
}

/**
 * Reads a number of so many octets; NaN where they are not there.
 * @param {string} octets
 * @param {number} at
 * @param {number} size
 */
function number(octets, at, size) {
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + octets.charCodeAt(at + i);
  return value;
}

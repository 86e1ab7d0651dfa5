// Checks of a ledger that need nothing but this file and the browser's own WebCrypto.
//
//   leaf = SHA-256(0x00 || entry)      node = SHA-256(0x01 || left || right)             RFC 6962, section 2.1
//   record's leaf = SHA-256(0x00 || salt || record), in a tree of its own whose root the entry commits to
//   checkpoint = a signed note (c2sp.org/signed-note, tlog-checkpoint), Ed25519; below it cosignatures of witnesses
//   (c2sp.org/tlog-cosignature)
//
// Everything throws a Fault that says what is wrong by a code and its values; nothing here touches a page.

export class Fault extends Error {
  constructor(code, values = {}) {
    super(`${code} ${JSON.stringify(values)}`);
    this.code = code;
    this.values = values;
  }
}

const NOTE = 0x01;
const COSIGNATURE = 0x04;
const LONGEST = 64; // hashes of a path: a log has fewer than 2^64 entries
const utf8 = (text) => new TextEncoder().encode(text);

// ---- bytes ----------------------------------------------------------------------------------------------------------

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function fromHex(text, length = null) {
  if (!/^(?:[0-9a-f]{2})*$/.test(text) || (length !== null && text.length !== 2 * length)) {
    throw new Fault("hex.form", { found: text.slice(0, 80) });
  }
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function fromBase64(text) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
  return btoa(String.fromCharCode(...bytes)) === text ? bytes : null; // one form only
}

function joined(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
export const leafHash = (...parts) => sha256(Uint8Array.of(0), ...parts);
export const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

// ---- signatures -----------------------------------------------------------------------------------------------------

const FIELD = 2n ** 255n - 19n;
const ORDER_8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;
const SMALL_ORDER = [0n, 1n, FIELD - 1n, ORDER_8, FIELD - ORDER_8];

// Whether the bytes are the one form of a point's y, and not that of a point of small order, of which one signature fits
// many messages. "Secure Curves in the Web Cryptography API" asks the same of browsers; here it holds in every one.
function strict(point) {
  const number = point.reduceRight((high, byte) => (high << 8n) | BigInt(byte), 0n);
  const y = number & (2n ** 255n - 1n); // the bit above is the sign of x
  return y < FIELD && !SMALL_ORDER.includes(y);
}

async function signed(publicKey, signature, message) {
  if (!strict(publicKey) || !strict(signature.slice(0, 32))) {
    return false;
  }
  const key = await crypto.subtle.importKey("raw", publicKey, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, key, signature, message);
}

// Whether this browser can check at all: it must accept the first signature of RFC 8032, 7.1, and refuse it when a bit
// differs. Throws a Fault; a check that cannot be made is never shown as one that succeeded.
export async function requireCrypto() {
  if (!globalThis.crypto?.subtle) {
    throw new Fault("cannot.crypto");
  }
  const key = fromHex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  const signature = fromHex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  );
  let good, bad;
  try {
    good = await signed(key, signature, new Uint8Array());
    bad = await signed(key, signature, Uint8Array.of(1));
  } catch {
    throw new Fault("cannot.ed25519");
  }
  if (good !== true || bad !== false) {
    throw new Fault("cannot.ed25519");
  }
}

// A C2SP key string, name+hash+base64(type || key): {name, kind, id, public, text}.
export async function parseKey(text, kind = NOTE) {
  const [name, digest, ...rest] = text.split("+");
  const blob = fromBase64(rest.join("+"));
  if (!name || !blob || blob.length !== 33) {
    throw new Fault("key.form", { found: text.slice(0, 80) });
  }
  const id = (await sha256(utf8(`${name}\n`), blob)).slice(0, 4);
  if (hex(id) !== digest) {
    throw new Fault("key.hash", { name, found: hex(id), says: digest });
  }
  if (blob[0] !== kind) {
    throw new Fault("key.kind", { name, found: blob[0] });
  }
  return { name, kind, id, public: blob.slice(1), text };
}

// The digits by which people compare a key: those of `tallystick party card`.
export async function fingerprint(text) {
  const number = BigInt(`0x${hex(await sha256(utf8(`tallystick-fingerprint-v1\n${text}`)))}`) % 10n ** 40n;
  return number.toString().padStart(40, "0").match(/.{5}/g).join(" ");
}

// ---- checkpoints ----------------------------------------------------------------------------------------------------

// A signed note: {text, lines}, each line {name, id, blob}. Anything not in its one form is refused.
export function parseNote(note) {
  const split = note.lastIndexOf("\n\n");
  if (split < 0 || !note.endsWith("\n")) {
    throw new Fault("note.form");
  }
  const lines = note.slice(split + 2, -1).split("\n").map((line) => {
    const found = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/.exec(line);
    const blob = found && fromBase64(found[2]);
    if (!blob || blob.length < 5) {
      throw new Fault("note.line", { found: line.slice(0, 80) });
    }
    return { name: found[1], id: blob.slice(0, 4), blob: blob.slice(4) };
  });
  return { text: note.slice(0, split + 1), lines };
}

// Three lines: origin, number of entries, root.
export function parseHead(text) {
  const [origin, size, encoded, end, ...more] = text.split("\n");
  const root = encoded === undefined ? null : fromBase64(encoded);
  if (!origin || !/^(?:0|[1-9][0-9]{0,15})$/.test(size) || root?.length !== 32 || end !== "" || more.length) {
    throw new Fault("head.form", { found: text.slice(0, 120) });
  }
  return { origin, size: Number(size), root };
}

const by = (line, key) => line.name === key.name && same(line.id, key.id);

// The head of a log whose note must be signed by `key`: {origin, size, root, note}.
export async function openHead(text, key) {
  const note = parseNote(text);
  const head = parseHead(note.text);
  const lines = note.lines.filter((line) => by(line, key));
  if (!lines.length) {
    throw new Fault("head.unsigned", { origin: head.origin, name: key.name, id: hex(key.id) });
  }
  for (const line of lines) {
    if (!(await signed(key.public, line.blob, utf8(note.text)))) {
      throw new Fault("head.signature", { origin: head.origin, size: head.size, name: key.name });
    }
  }
  return { ...head, note };
}

// What witnesses say of a head: those of `keys` (of type 0x04) that cosigned it, with their times, and the names of
// other signers, who are not checked. A wrong line of a known witness is a Fault.
export async function cosigned(head, key, keys) {
  const seen = [];
  const others = [];
  for (const line of head.note.lines.filter((line) => !by(line, key))) {
    const witness = keys.find((one) => by(line, one));
    if (!witness) {
      others.push(line.name);
      continue;
    }
    const seconds = line.blob.length === 72 ? new DataView(line.blob.buffer, line.blob.byteOffset).getBigUint64(0) : 0n;
    const message = utf8(`cosignature/v1\ntime ${seconds}\n${head.note.text}`);
    if (!seconds || !(await signed(witness.public, line.blob.slice(8), message))) {
      throw new Fault("witness.signature", { name: witness.name, origin: head.origin, size: head.size });
    }
    seen.push({ name: witness.name, at: new Date(Number(seconds) * 1000).toISOString() });
  }
  return { seen, others };
}

// ---- entries --------------------------------------------------------------------------------------------------------

function canonical(value) {
  if (Array.isArray(value)) {
    return `[${value.map(canonical).join(",")}]`;
  }
  if (value === null || typeof value !== "object") {
    return JSON.stringify(value);
  }
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}

// An entry from its text: {number, text, leaf, body}. `number`: where it is said to stand.
export async function readEntry(text, number, origin) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = null;
  }
  if (body === null || canonical(body) !== text) {
    throw new Fault("entry.form", { entry: number });
  }
  if (body.seq !== number) {
    throw new Fault("entry.place", { entry: number, found: body.seq });
  }
  if (body.log !== origin) {
    throw new Fault("entry.log", { entry: number, found: body.log, origin });
  }
  return { number, text, leaf: await leafHash(utf8(text)), body };
}

// That `entry` names the one before it by its hash.
export function requireLink(entry, before) {
  const found = entry.body.prev;
  const wanted = before === null ? "0".repeat(64) : hex(before.leaf);
  if (found !== wanted) {
    throw new Fault("entry.prev", { entry: entry.number, before: entry.number - 1, found, leaf: wanted });
  }
}

// The root that a path leads to from a leaf at `place` of `size` (RFC 9162, 2.1.3.2). `what` begins the code of a Fault.
export async function rootOf(leaf, place, size, path, what) {
  if (!(place >= 0 && place < size) || path.length > LONGEST) {
    throw new Fault(`${what}.range`, { place, size });
  }
  let node = BigInt(place); // shifts of plain numbers end at 32 bits
  let last = BigInt(size - 1);
  let root = leaf;
  for (const sibling of path) {
    if (last === 0n) {
      throw new Fault(`${what}.long`, { place, size, count: path.length });
    }
    if (node & 1n || node === last) {
      root = await nodeHash(sibling, root);
      while (!(node & 1n) && node) {
        node >>= 1n;
        last >>= 1n;
      }
    } else {
      root = await nodeHash(root, sibling);
    }
    node >>= 1n;
    last >>= 1n;
  }
  if (last !== 0n) {
    throw new Fault(`${what}.short`, { place, size, count: path.length });
  }
  return root;
}

// That an entry lies under a head. `path`: hex.
export async function requireIncluded(entry, path, head) {
  const hashes = path.map((one) => fromHex(one, 32));
  const root = await rootOf(entry.leaf, entry.number, head.size, hashes, "inclusion");
  if (!same(root, head.root)) {
    const values = { entry: entry.number, leaf: hex(entry.leaf), found: hex(root), root: hex(head.root) };
    throw new Fault("inclusion.root", { ...values, size: head.size });
  }
}

// That the record of a decision leads to a digest that an entry commits to. salt, path: hex; record: text.
export async function requireCommitted({ record, salt, place, count, path }, entry) {
  const leaf = await leafHash(fromHex(salt), utf8(record));
  const root = hex(await rootOf(leaf, place, count, path.map((one) => fromHex(one, 32)), "record"));
  const committed = (entry.body.commit ?? []).map((one) => one.digest);
  if (!committed.includes(root)) {
    throw new Fault("record.root", { found: root, entry: entry.number, committed: committed.join(" ") || "-" });
  }
  return { leaf: hex(leaf), root };
}

// The root over leaves that come one after the other, from the first: the whole log in a handful of hashes.
export class Growing {
  #peaks = []; // [height, hash], from the left
  size = 0;

  async add(leaf) {
    let [height, hash] = [0, leaf];
    while (this.#peaks.at(-1)?.[0] === height) {
      hash = await nodeHash(this.#peaks.pop()[1], hash);
      height += 1;
    }
    this.#peaks.push([height, hash]);
    this.size += 1;
  }

  async root() {
    let root = this.#peaks.length ? this.#peaks.at(-1)[1] : await sha256();
    for (const [, hash] of this.#peaks.slice(0, -1).reverse()) {
      root = await nodeHash(hash, root);
    }
    return root;
  }
}

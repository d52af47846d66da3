// Verifies checkpoints (C2SP signed-note, tlog-checkpoint) and proofs of the journal's tree (RFC 9162 §2.1) by WebCrypto.
// Hashes are in hex, sizes are BigInt. What is not right is thrown as an Error with the reason in words.

const bytes = (text) => new TextEncoder().encode(text);
const fromHex = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
const hex = (data) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");

const refuse = (reason) => {
  throw Error(reason);
};

function fromBase64(text) {
  const found = /^[\w+/]+=*$/.test(text) && text.length % 4 === 0 ? atob(text) : "";
  if (btoa(found) !== text) refuse(`“${text}” is not base64.`);
  return Uint8Array.from(found, (letter) => letter.charCodeAt(0));
}

async function sha256(...parts) {
  const data = parts.flatMap((part) => [...(typeof part === "string" ? bytes(part) : part)]);
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(data))));
}

export const leafHash = (leaf) => sha256("\0", leaf);
const nodeHash = (left, right) => sha256("\x01", fromHex(left), fromHex(right));

// Tells in words why this browser cannot verify; nothing if it can.
export async function whyNot() {
  if (!globalThis.crypto?.subtle) return "The browser computes no hashes on a page that did not come over https.";
  return crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]).then(
    () => "",
    () => "This browser does not know Ed25519 signatures.",
  );
}

// Reads the note of a checkpoint. Only its end may have changed on the way.
export function readCheckpoint(note) {
  const lines = note.trimEnd().split("\n");
  const first = lines.findIndex((line) => line.startsWith("— "));
  const blank = lines.findIndex((line, place) => !line.trim() && place !== first - 1);
  const [origin, size, root] = lines;
  if (first < 0) refuse("It has no line of a signature, which begins with “—”.");
  if (blank >= 0) refuse(`Line ${blank + 1} is a blank line too many. Only one stands before the signatures.`);
  if (lines[first - 1]) refuse("The blank line before the signatures is missing.");
  if (first < 4 || !/^(0|[1-9]\d{0,18})$/.test(size)) refuse("Its first lines are not origin, size and root.");
  const signatures = lines.slice(first).map((line) => {
    const [, name, encoded] = line.match(/^— (\S+) (\S+)$/) ?? refuse("A line of a signature is malformed.");
    const data = fromBase64(encoded);
    return { name, id: hex(data.slice(0, 4)), data: data.slice(4) };
  });
  const text = lines.slice(0, first - 1).join("\n") + "\n";
  return { text, origin, size: BigInt(size), root: hex(fromBase64(root)), signatures };
}

// Requires that one of the keys (vkeys, one a line) signed a checkpoint; returns those that did.
export async function requireSigned({ text, signatures }, vkeys) {
  const keys = new Map();
  for (const vkey of vkeys.trim().split("\n")) {
    const [, name, id, encoded] = vkey.match(/^([^+]+)\+(\w{8})\+(\S+)$/) ?? [];
    const key = fromBase64(encoded ?? "");
    if (key[0] !== 1 || !(await sha256(name, "\n", key)).startsWith(id)) refuse(`“${vkey}” is not a key.`);
    keys.set(`${name} (key ${id})`, key.slice(1));
  }
  const signers = signatures.map(({ name, id }) => `${name} (key ${id})`);
  const known = signers.filter((signer) => keys.has(signer));
  if (!known.length) refuse(`No signature is of a known key: it is of ${signers}, known is ${[...keys.keys()]}.`);
  for (const [place, signer] of signers.entries()) {
    if (!keys.has(signer)) continue;
    const key = await crypto.subtle.importKey("raw", keys.get(signer), "Ed25519", false, ["verify"]);
    if (!(await crypto.subtle.verify("Ed25519", key, signatures[place].data, bytes(text))))
      refuse(`The signature of ${signer} is not of this text. One of them was changed.`);
  }
  return known;
}

// Climbs along a path. Returns the roots of the smaller and the larger tree, none if the path does not fit.
async function climb(place, last, start, path) {
  let [before, after] = [start, start];
  for (const sibling of path) {
    if (!last) return [];
    if (place & 1n || place === last) {
      [before, after] = [await nodeHash(sibling, before), await nodeHash(sibling, after)];
      for (; place && !(place & 1n); last >>= 1n) place >>= 1n;
    } else after = await nodeHash(after, sibling);
    [place, last] = [place >> 1n, last >> 1n];
  }
  return last ? [] : [before, after];
}

// Tells whether a leaf stands at an index, counted from 0, of the tree with a size and root (§2.1.3.2).
export async function isIncluded(leaf, index, size, root, path) {
  return index >= 0n && index < size && (await climb(index, size - 1n, leaf, path))[1] === root;
}

// Tells whether a tree is the beginning of another one (§2.1.4.2).
export async function isBeginning(first, second, firstRoot, secondRoot, path) {
  if (first < 0n || first > second) return false;
  if (!first || first === second) return !path.length && firstRoot === (first ? secondRoot : await sha256());
  const [start, ...rest] = first & (first - 1n) ? path : [firstRoot, ...path];
  let [place, last] = [first - 1n, second - 1n];
  for (; place & 1n; last >>= 1n) place >>= 1n;
  const [before, after] = start ? await climb(place, last, start, rest) : [];
  return before === firstRoot && after === secondRoot;
}

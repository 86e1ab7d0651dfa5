// What this browser remembers of logs: the key of each party (trust on first use) and the newest head of each log.
// A server that shows another key, or another root for the same number of entries, is told apart from before.

import { Fault, fingerprint, hex } from "./verify.js";

const KEY = "tallystick.key.";
const HEAD = "tallystick.head.";

function recall(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null; // storage is switched off, or somebody else wrote there
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

// What is known of a key: {state: "first" | "seen" | "compared" | "forgotten", since}. Throws for one that changed.
export async function meetKey(key) {
  const held = recall(KEY + key.name);
  if (held === null) {
    const since = new Date().toISOString().slice(0, 10);
    return { state: keep(KEY + key.name, { text: key.text, since }) ? "first" : "forgotten", since };
  }
  if (held.text !== key.text) {
    const [now, then] = [await fingerprint(key.text), await fingerprint(held.text)];
    throw new Fault("key.changed", { name: key.name, now, then, since: held.since });
  }
  return { state: held.compared ? "compared" : "seen", since: held.since };
}

// A person read out digits: whether they are this key's. It is then believed, also in place of another.
export async function pinKey(key, digits) {
  if (digits.replace(/\D/g, "") !== (await fingerprint(key.text)).replaceAll(" ", "")) {
    return false;
  }
  const since = new Date().toISOString().slice(0, 10);
  keep(KEY + key.name, { text: key.text, since, compared: true });
  return true;
}

// A log has one root for a number of entries. Throws where it was shown another one before.
export function meetHead(head) {
  const held = recall(HEAD + head.origin);
  const root = hex(head.root);
  if (held?.size === head.size && held.root !== root) {
    throw new Fault("head.fork", { origin: head.origin, size: head.size, found: root, before: held.root });
  }
  if (!held || held.size < head.size) {
    keep(HEAD + head.origin, { size: head.size, root });
  }
}

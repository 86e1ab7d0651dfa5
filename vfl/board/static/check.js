// Puts the checks of verify.js on a page: reads what the page shows, and says of each step whether it holds.
//
// A part of a page with data-check holds what is checked as plain text, so that what a person sees is what was checked:
// [data-is=key] [data-is=checkpoint], entries [data-entry=N] with [data-is=entry] and [data-is=path], and for a decision
// [data-is=record] [data-is=salt] [data-is=record-path]. The verdict is green only if every step was made and holds.

import * as memory from "./memory.js";
import * as verify from "./verify.js";

const texts = Object.fromEntries(
  [...document.querySelector("#words").content.children].map((one) => [one.dataset.key, one.textContent]),
);
const short = (text) => (/^[0-9a-f]{40,}$/.test(text) ? `${text.slice(0, 16)}…` : text);

function say(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => short(String(values[name] ?? "?")));
}

// The steps of one check in their order; `ok` is told or left out, a Fault is told by its code.
class Steps {
  all = [];

  async make(name, needs, work) {
    if (needs.includes(undefined)) {
      this.all.push({ name, state: "skipped", text: say("state.skipped") });
      return undefined;
    }
    try {
      const { value, text, state = "ok" } = await work(...needs);
      this.all.push({ name, state, text });
      return value ?? true;
    } catch (error) {
      const told = error instanceof verify.Fault ? say(`fault.${error.code}`, error.values) : String(error);
      this.all.push({ name, state: "fault", code: error.code ?? "", text: told });
      return undefined;
    }
  }

  get verdict() {
    const fault = this.all.find((one) => one.state === "fault");
    if (fault) {
      return { state: fault.code.startsWith("cannot.") ? "cannot" : "fault", text: fault.text, code: fault.code };
    }
    const holds = this.all.length > 0 && this.all.every((one) => one.state === "ok" || one.state === "note");
    return holds ? { state: "ok" } : { state: "cannot", text: say("state.skipped") };
  }
}

// Steps (1) to (4), the same for all checks: this browser, the key, the head, its witnesses.
async function checkHead(steps, given) {
  const able = await steps.make("browser", [], async () => {
    await verify.requireCrypto();
    return { text: say("ok.browser") };
  });
  const key = await steps.make("key", [able], async () => {
    const value = await verify.parseKey(given.key);
    return { value, text: say("ok.key", { name: value.name, print: await verify.fingerprint(value.text) }) };
  });
  await steps.make("pin", [key], async () => {
    const { state, since } = await memory.meetKey(key);
    return { text: say(`ok.pin_${state}`, { since }), state: state === "seen" || state === "compared" ? "ok" : "note" };
  });
  const head = await steps.make("head", [key], async () => {
    const value = await verify.openHead(given.checkpoint, key);
    memory.meetHead(value);
    return { value, text: say("ok.head", { origin: value.origin, size: value.size.toLocaleString("en") }) };
  });
  await steps.make("witnesses", [head], async () => {
    const keys = await Promise.all(given.witnesses.map((text) => verify.parseKey(text, 0x04)));
    const { seen, others } = await verify.cosigned(head, key, keys);
    const told = seen.map((one) => say("ok.witness", { name: one.name, at: one.at.slice(0, 19).replace("T", " ") }));
    told.push(...others.map((name) => say("ok.witness_unknown", { name })));
    return { text: told.join(" ") || say("ok.witness_none"), state: seen.length ? "ok" : "note" };
  });
  return { key, head };
}

// Entries of a stretch: their form, the hash of the one before, the way to the signed root. Of several faults the first
// in the log is told: what comes after it may follow from it. `mark` is told of each entry which of its checks failed.
export async function checkStretch(given, mark = () => {}) {
  const steps = new Steps();
  const { key, head } = await checkHead(steps, given);
  const entries = new Map();
  const inOrder = given.entries.toSorted((a, b) => a.number - b.number);
  const each = async (name, needs, ok, work) =>
    steps.make(name, needs, async () => {
      const faults = [];
      for (const one of inOrder) {
        try {
          await work(one);
        } catch (error) {
          mark(one.number, error);
          faults.push(error);
        }
      }
      if (faults.length) {
        throw faults[0];
      }
      return { text: say(ok, { count: given.entries.length }) };
    });
  await each("entries", [head], "ok.entries", async (one) => {
    entries.set(one.number, await verify.readEntry(one.text, one.number, head.origin));
  });
  await each("links", [head], "ok.links", async (one) => {
    const entry = entries.get(one.number);
    if (entry && (one.number === 0 || entries.has(one.number - 1))) {
      verify.requireLink(entry, entries.get(one.number - 1) ?? null);
    }
  });
  await each("inclusion", [head], "ok.inclusions", async (one) => {
    if (entries.has(one.number)) {
      await verify.requireIncluded(entries.get(one.number), one.path, head);
    }
  });
  if (head && given.leaves) {
    await each("shown", [head], "ok.leaves", async (one) => {
      const leaf = verify.hex(entries.get(one.number)?.leaf ?? []);
      if (leaf && leaf !== given.leaves.get(one.number)) {
        throw new verify.Fault("entry.leaf", { entry: one.number, leaf, found: given.leaves.get(one.number) });
      }
    });
  }
  if (head) {
    given.entries.filter((one) => entries.has(one.number)).forEach((one) => mark(one.number, null));
  }
  return { steps, key, head };
}

// One decision: record -> digest -> entry -> signed root, and that receipt and page say the same.
async function checkDecision(given) {
  const steps = new Steps();
  const { key, head } = await checkHead(steps, given);
  const [one] = given.entries;
  const entry = await steps.make("entry", [head], async () => {
    const value = await verify.readEntry(one.text, one.number, head.origin);
    return { value, text: say("ok.entry", { entry: one.number, leaf: verify.hex(value.leaf) }) };
  });
  await steps.make("inclusion", [entry], async () => {
    await verify.requireIncluded(entry, one.path, head);
    return { text: say("ok.inclusion", { count: one.path.length, size: head.size.toLocaleString("en") }) };
  });
  await steps.make("record", [entry], async () => {
    const { root } = await verify.requireCommitted(given.record, entry);
    const values = { place: given.record.place + 1, count: given.record.count, root, entry: entry.number };
    return { text: say("ok.record", values) };
  });
  await steps.make("receipt", [entry], async () => {
    const leaf = verify.hex(entry.leaf);
    if (given.receipt.entry !== entry.number || given.receipt.leaf !== leaf) {
      throw new verify.Fault("receipt", { entry: entry.number, leaf, place: given.receipt.entry, found: given.receipt.leaf });
    }
    return { text: say("ok.receipt") };
  });
  await steps.make("shown", [entry], async () => {
    const fields = compare(JSON.parse(given.record.record), given.shown);
    return { text: say("ok.shown", { fields: fields.join(", ") }) };
  });
  return { steps, key, head };
}

// The fields of a record that the page shows as well must be the same; numbers may stand in the record as texts.
function compare(record, shown) {
  const both = Object.keys(shown).filter((name) => name in record);
  for (const name of both) {
    const [kept, told] = [record[name], shown[name]];
    const alike = typeof told === "number" ? Number(kept) === told : String(kept) === String(told);
    if (!alike) {
      throw new verify.Fault("shown", { field: name, kept: String(kept), told: String(told) });
    }
  }
  return both;
}

// ---- on the page ----------------------------------------------------------------------------------------------------

const part = (place, name) => place.querySelector(`[data-is="${name}"]`);
const textOf = (place, name) => part(place, name).textContent;
const wordsOf = (place, name) => textOf(place, name).split(/\s+/).filter(Boolean);

function gather(place) {
  const entries = [...place.querySelectorAll("[data-entry]")].map((one) => ({
    number: Number(one.dataset.entry),
    text: textOf(one, "entry"),
    path: wordsOf(one, "path"),
  }));
  const witnesses = (place.dataset.witnesses ?? "").split(/\s+/).filter(Boolean);
  return { key: textOf(place, "key"), checkpoint: textOf(place, "checkpoint"), witnesses, entries };
}

function gatherDecision(place) {
  const { place: at, count } = part(place, "record").dataset;
  const record = { record: textOf(place, "record"), salt: textOf(place, "salt"), path: wordsOf(place, "record-path") };
  return {
    ...gather(place),
    record: { ...record, place: Number(at), count: Number(count) },
    receipt: { entry: Number(place.dataset.receiptEntry), leaf: place.dataset.receiptLeaf },
    shown: JSON.parse(place.dataset.shown),
  };
}

function element(tag, look, text) {
  const made = document.createElement(tag);
  made.className = look;
  made.textContent = text;
  return made;
}

// The same words again are not told again: screen readers would.
function tell(place, text) {
  if (place.textContent !== text) {
    place.textContent = text;
  }
}

// The verdict and the steps of a check into their places.
export function show(place, steps, good) {
  const { state, text, code } = steps.verdict;
  const verdict = part(place, "verdict");
  verdict.dataset.state = state;
  verdict.dataset.code = code ?? "";
  tell(verdict, state === "ok" ? good : state === "fault" ? say("state.bad", { text }) : text);
  const list = part(place, "steps");
  list?.replaceChildren(
    ...steps.all.map((one) => {
      const item = element("li", one.state, "");
      item.dataset.step = one.name;
      item.dataset.code = one.code ?? "";
      item.append(element("b", "", say(`step.${one.name}`)), element("span", "hidden", say(`state.${one.state}`)));
      item.append(element("span", "", one.text));
      return item;
    }),
  );
  const changed = steps.all.find((one) => one.code === "key.changed" || one.code === "head.fork");
  const alarm = document.querySelector("#alarm");
  if (changed) {
    tell(alarm, changed.text);
  }
  alarm.hidden = !alarm.textContent;
}

function markRow(place) {
  const failed = new Set();
  return (number, fault) => {
    const mark = place.querySelector(`[data-entry="${number}"] [data-is="mark"]`);
    if (fault) {
      failed.add(number);
    }
    if (mark) {
      mark.dataset.state = failed.has(number) ? "fault" : "ok";
      mark.textContent = say(failed.has(number) ? "state.fault" : "state.ok");
    }
  };
}

async function run(place) {
  part(place, "verdict").textContent = say("state.waiting");
  if (place.dataset.check === "status") {
    return checkStatus(place);
  }
  const decision = place.dataset.check === "decision";
  const given = decision ? gatherDecision(place) : gather(place);
  if (!decision) {
    const leaves = [...place.querySelectorAll("[data-entry]")].map((one) => [Number(one.dataset.entry), textOf(one, "leaf")]);
    given.leaves = new Map(leaves);
  }
  const done = decision ? await checkDecision(given) : await checkStretch(given, markRow(place));
  show(place, done.steps, say(decision ? "good.decision" : "good.stretch"));
  return done;
}

async function stretch(query) {
  const answer = await fetch(`/board/ledger.json?${new URLSearchParams(query)}`);
  if (!answer.ok) {
    throw new Error(`${answer.status}`);
  }
  return answer.json();
}

const listed = (found) =>
  found.entries.map((text, at) => ({ number: found.start + at, text, path: found.inclusion[at] })).reverse();

// The line about the ledger on the first page: its newest entries, fetched and checked.
export async function checkStatus(place) {
  const witnesses = (place.dataset.witnesses ?? "").split(/\s+/).filter(Boolean);
  try {
    const found = await stretch({ last: 8 });
    const done = await checkStretch({ ...found, witnesses, entries: listed(found) });
    tell(part(place, "size"), say("good.size", { size: found.size.toLocaleString("en") }));
    show(place, done.steps, say("good.status", { count: found.entries.length }));
  } catch (error) {
    const verdict = part(place, "verdict");
    verdict.dataset.state = "cannot";
    verdict.textContent = say("state.unreachable", { why: error.message });
  }
}

// Every entry of a log from the first: form, links, and the one root that the head signs.
async function checkWhole(place) {
  const [told, progress] = [part(place, "whole-verdict"), part(place, "whole-progress")];
  const steps = new Steps();
  const first = await stretch({ log: place.dataset.log, start: 0, count: 1 });
  const { head } = await checkHead(steps, { ...first, witnesses: [] });
  progress.hidden = false;
  await steps.make("whole", [head], async () => {
    const tree = new verify.Growing();
    let before = null;
    while (tree.size < head.size) {
      const found = await stretch({ log: place.dataset.log, start: tree.size, count: 500 });
      if (found.start !== tree.size || !found.entries.length) {
        throw new verify.Fault("whole.gap", { entry: tree.size });
      }
      for (const text of found.entries.slice(0, head.size - tree.size)) {
        const entry = await verify.readEntry(text, tree.size, head.origin);
        verify.requireLink(entry, before);
        await tree.add(entry.leaf);
        before = entry;
      }
      progress.value = tree.size / head.size;
    }
    const [root, signed] = [verify.hex(await tree.root()), verify.hex(head.root)];
    if (root !== signed) {
      throw new verify.Fault("whole.root", { size: head.size, found: root, root: signed });
    }
    return { text: "" };
  });
  progress.hidden = true;
  const { state, text, code } = steps.verdict;
  told.dataset.state = state;
  told.dataset.code = code ?? "";
  told.textContent = state === "ok" ? say("good.whole", { size: first.size.toLocaleString("en") }) : text;
}

for (const place of document.querySelectorAll("[data-check]")) {
  const checked = run(place).catch((error) => {
    part(place, "verdict").dataset.state = "cannot";
    part(place, "verdict").textContent = String(error);
  });
  part(place, "pin")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const done = await checked;
    const known = done?.key && (await memory.pinKey(done.key, event.target.elements.digits.value));
    part(place, "pinned").textContent = say(known ? "pin.same" : "pin.different");
    if (known) {
      document.querySelector("#alarm").textContent = "";
      await run(place);
    }
  });
  part(place, "whole")?.addEventListener("click", (event) => {
    event.target.disabled = true;
    checkWhole(place).finally(() => {
      event.target.disabled = false;
    });
  });
}

"""A second verifier, written from docs/spec/ledger.md alone: standard library only, nothing shared with `ledger`.

    code, why = check(bundle bytes, policy text)          0: everything that was looked at fits; else 1

It answers one question, valid or not, and shares no line with the verifier it is compared with. It goes its own ways
where it can: zipfile reads the archive, Ed25519 is written out (RFC 8032), the tree is recomputed recursively.
"""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import sys
import zipfile
import zlib
from collections import defaultdict
from functools import cache, lru_cache
from hashlib import sha256, sha512
from itertools import groupby

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


class Wrong(Exception):
    """Something does not fit."""


def need(fact, why):
    if not fact:
        raise Wrong(why)


# Ed25519 (RFC 8032 section 5.1.7); points are (X, Y, Z, T).
def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, p):
    q = (0, 1, 1, 0)
    while n:
        q, p, n = (add(q, p) if n & 1 else q), add(p, p), n >> 1
    return q


def point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    need(y < P, "a point is out of range")
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    x = x if x * x % P == x2 else x * ROOT % P
    need(x * x % P == x2 and (x or not sign), "no point of the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


@cache
def signed(public, signature, message):
    try:
        need(len(signature) == 64 and len(public) == 32, "lengths")
        key, r, s = point(public), point(signature[:32]), int.from_bytes(signature[32:], "little")
        need(s < L, "s is out of range")
        need(times(8, key)[0] * times(8, r)[0] % P, "a point of small order")
    except Wrong:
        return False
    k = int.from_bytes(sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(k, key))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


# canonical JSON, notes, policy


def canonical(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def read_json(data):
    try:
        value = json.loads(data)
        need(canonical(value) == data and isinstance(value, dict), "not canonical")
    except (ValueError, RecursionError) as error:
        raise Wrong(f"no JSON: {error}") from None
    return value


def read_note(data):
    """Text and signature lines (name, 4-byte id, blob); in the one form."""
    try:
        text, gap, tail = data.decode().rpartition("\n\n")
        need(gap and tail.endswith("\n"), "no note")
        lines = []
        for line in tail[:-1].split("\n"):
            dash, name, encoded = line.split(" ")
            blob = base64.b64decode(encoded, validate=True)
            need(dash == "\u2014" and name and len(blob) > 4, "no signature line")
            need(base64.b64encode(blob).decode() == encoded, "base64 in another form")
            lines.append((name, blob[:4], blob[4:]))
    except ValueError as error:
        raise Wrong(f"no note: {error}") from None
    return text + "\n", lines


class Policy:
    """Log keys by party, witness keys by name in the file, groups, quorum. Keys are (name, id, public)."""

    def __init__(self, text):
        self.logs, self.witnesses, self.groups, self.quorum = {}, {}, {}, None
        for line in text.splitlines():
            match line.split():
                case ["log", key, *_]:
                    found = self.key(key, 1)
                    self.logs[found[0]] = found
                case ["witness", name, key, *_]:
                    self.witnesses[name] = self.key(key, 4)
                case ["group", name, wanted, *members]:
                    self.groups[name] = (wanted, members)
                case ["quorum", name]:
                    self.quorum = name

    @staticmethod
    def key(text, kind):
        name, told, encoded = text.split("+", 2)
        blob = base64.b64decode(encoded)
        found = sha256(name.encode() + b"\n" + blob).digest()[:4]
        need(blob[0] == kind and found.hex() == told, f"key {name} is wrong in the policy")
        return name, found, blob[1:]

    def met(self, cosigned, party):
        if self.quorum == "none":
            return True
        state = {n: None if k[0] == f"{party}/witness" else k[0] in cosigned for n, k in self.witnesses.items()}
        for name, (wanted, members) in self.groups.items():
            votes = [state[m] for m in members if state[m] is not None]
            least = {"all": len(votes), "any": 1}.get(wanted) or int(wanted) if votes else 1
            state[name] = sum(votes) >= least if votes else None
        return bool(state[self.quorum])


# tree (RFC 6962 section 2.1)


@lru_cache(maxsize=1 << 16)
def tree(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    cut = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + tree(leaves[:cut]) + tree(leaves[cut:])).digest()


# a bundle


def members_of(data):
    need(len(data) <= 2**30, "too large")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            need(all(info.compress_type == zipfile.ZIP_STORED for info in infos), "a member is compressed")
            found = {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError, RuntimeError) as error:
        raise Wrong(f"no archive: {error}") from None
    plain = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*", re.A)
    need(all(plain.fullmatch(name) for name in found), "a bad name")
    need(archive_of(found) == data, "the archive is not in its one form")
    return found


def archive_of(members):
    """PKWARE APPNOTE 4.3.7, 4.3.12, 4.3.16: stored, sorted, dated 1980-01-01, mode 0644."""
    local, central = b"", b""
    for name, data in sorted(members.items()):
        common = struct.pack("<5H3I2H", 20, 0, 0, 0, 33, zlib.crc32(data), len(data), len(data), len(name), 0)
        offset = len(local)
        local += b"PK\3\4" + common + name.encode() + data
        central += b"PK\1\2\x14\3" + common + struct.pack("<3H2I", 0, 0, 0, 0o100644 << 16, offset) + name.encode()
    count = len(members)
    return local + central + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(central), len(local), 0)


def check(data, policy_text):
    """(0, "") when nothing is wrong, else (1, the first fault)."""
    try:
        run_checks(members_of(data), Policy(policy_text))
    except Wrong as error:
        return 1, str(error)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return 1, f"of another shape: {error!r}"
    return 0, ""


def run_checks(members, policy):
    listed = "".join(
        f"{sha256(members[name]).hexdigest()}  {name}\n"
        for name in sorted(members)
        if name not in ("SHA256SUMS", "SHA256SUMS.note") and not name.startswith("timestamps/")
    ).encode()
    need(members.get("SHA256SUMS") == listed, "SHA256SUMS does not fit")
    manifest = read_json(members.get("manifest.json", b""))
    need((manifest.get("format"), manifest.get("v")) == ("tallystick-bundle", 1), "another format")
    run = manifest["run"]
    parties = sorted({name.split("/")[1] for name in members if name.startswith("logs/")})
    check_sums_note(members, policy, run, parties)
    entries = {party: check_log(party, members, policy, manifest) for party in parties}
    counted = [{"party": p, "entries": len(entries[p]), "checkpoints": len(heads(p, members))} for p in parties]
    need(manifest["logs"] == counted and counted, "the manifest counts otherwise")
    need(manifest["artefacts"] == sum(n.startswith("artefacts/") for n in members), "the manifest counts otherwise")
    check_messages(entries, run)


def check_sums_note(members, policy, run, parties):
    text, lines = read_note(members.get("SHA256SUMS.note", b""))
    digest = base64.b64encode(sha256(members["SHA256SUMS"]).digest()).decode()
    need(text == f"tallystick bundle v1\n{run}\n{digest}\n", "the sums are signed for something else")
    signers = {name for name, *line in lines if by(policy.logs.get(name), line, text)}
    need(signers >= set(parties), "a party did not sign the sums")


def by(key, line, text):
    """Whether a line is by this key; wrong if it says so and is not."""
    if key is None or line[0] != key[1]:
        return False
    need(signed(key[2], line[1], text.encode()), f"a signature by {key[0]} does not fit")
    return True


def heads(party, members):
    names = re.compile(rf"logs/{re.escape(party)}/checkpoints/(0|[1-9]\d*)\.note", re.A)
    return {int(match[1]): data for name, data in members.items() if (match := names.fullmatch(name))}


def check_log(party, members, policy, manifest):
    need(party in policy.logs, f"no key of {party}")
    bodies = members.get(f"logs/{party}/entries.jsonl", b"").split(b"\n")
    need(bodies.pop() == b"" and bodies, f"{party}: no whole entries")
    entries, leaves = [], ()
    previous, clock, slots = bytes(32), 0, set()
    for seq, body in enumerate(bodies):
        entry = read_json(body)
        need(set(entry) == FIELDS and entry["v"] == 1, f"{party} {seq}: other fields")
        same = (entry["seq"], entry["prev"], entry["log"], entry["job"], entry["actor"], entry["agreement"])
        mine = (seq, previous.hex(), f"{party}/{manifest['run']}", manifest["run"], party, manifest["agreement"])
        need(same == mine, f"{party} {seq}: not the next entry of this log")
        need(entry["slot"] not in slots and entry["mono"] >= clock, f"{party} {seq}: order")
        for ref in entry["refs"]:
            need(ref in slots if isinstance(ref, str) else ref < seq, f"{party} {seq}: refers forward")
        clock = entry["mono"]
        slots.add(entry["slot"])
        previous = sha256(b"\x00" + body).digest()
        leaves += (previous,)
        entries.append(entry)
    check_certificate(party, policy.logs[party], entries, manifest["run"])
    check_heads(party, policy, leaves, entries, heads(party, members), manifest["run"])
    return entries


FIELDS = {
    "v",
    "log",
    "seq",
    "prev",
    "ts",
    "mono",
    "job",
    "agreement",
    "phase",
    "round",
    "step",
    "slot",
    "actor",
    "peer",
}
FIELDS |= {"dir", "payload", "refs", "commit", "params", "env"}


def check_certificate(party, key, entries, run):
    certificate = dict(entries[0]["params"].get("certificate") or {})
    sig = bytes.fromhex(certificate.pop("sig", ""))
    need(signed(key[2], sig, b"tallystick-certificate-v1\n" + canonical(certificate)), f"{party}: certificate")
    need((certificate["party"], certificate["run"]) == (party, run), f"{party}: another certificate")
    for entry in entries:
        need(certificate["not_before"] <= entry["ts"] <= certificate["not_after"], f"{party}: outside validity")


def check_heads(party, policy, leaves, entries, found, run):
    need(found and max(found) == len(leaves), f"{party}: not all entries are under a checkpoint")
    cosigned = {}
    for size, data in sorted(found.items()):
        text, lines = read_note(data)
        need(size <= len(leaves), f"{party}: a checkpoint covers more than there is")
        root = base64.b64encode(tree(leaves[:size])).decode()
        need(text == f"{party}/{run}\n{size}\n{root}\n", f"{party}: checkpoint {size} is not of these entries")
        need(any(name == party and by(policy.logs[party], line, text) for name, *line in lines), f"{party}: unsigned")
        cosigned[size] = {key[0] for key in policy.witnesses.values() for line in lines if cosigns(key, line, text)}
    need(policy.met(cosigned[max(cosigned)], party), f"{party}: the quorum is not met")
    for peer in {entry["peer"] for entry in entries if entry["peer"]}:
        shared = [entry for entry in entries if entry["peer"] == peer]
        rounds = [list(some) for _, some in groupby(shared, lambda entry: (entry["phase"], entry["round"]))]
        for number, some in enumerate(rounds):
            # The peer cosigned a checkpoint before the first message of another phase or of the fifth round after.
            last = next((after[0]["seq"] for after in rounds[number + 1 :] if far(some[0], after[0])), len(leaves))
            seen = (some[-1]["seq"] < s <= last and f"{peer}/witness" in who for s, who in cosigned.items())
            need(any(seen), f"{party}: {peer} did not cosign a round")


def far(entry, after):
    return entry["phase"] != after["phase"] or not 0 < after["round"] - entry["round"] < 5


def cosigns(key, line, text):
    name, id_, blob = line
    if (name, id_) != key[:2]:
        return False
    message = f"cosignature/v1\ntime {int.from_bytes(blob[:8], 'big')}\n{text}".encode()
    need(signed(key[2], blob[8:], message), f"a cosignature by {name} does not fit")
    return True


def check_messages(entries, run):
    keys = {party: log[0]["params"]["certificate"]["key"] for party, log in entries.items()}
    ends = defaultdict(dict)
    for party, log in entries.items():
        for entry in (entry for entry in log if entry["peer"]):
            need(entry["peer"] in entries, f"the log of {entry['peer']} is missing")
            ends[entry["slot"]][party] = entry
            sender, receiver = (party, entry["peer"])[:: 1 if entry["dir"] == "send" else -1]
            payload, env = entry["payload"], entry["env"]
            said = {"run": run, "slot": entry["slot"], "from": sender, "to": receiver, "kind": payload["schema"]}
            said |= {"digest": payload["digest"], "bytes": payload["bytes"]}
            if env is not None:  # without one the two heads, each over its end of the message, are the signatures
                need(env["key"] == keys[sender], f"{party} {entry['seq']}: another key")
                message = b"tallystick-envelope-v1\n" + canonical(said)
                need(signed(bytes.fromhex(env["key"]), bytes.fromhex(env["sig"]), message), f"{party}: envelope")
    for slot, both in ends.items():
        need(len(both) == 2, f"{slot}: one end only")
        (a, first), (b, second) = both.items()
        need({first["dir"], second["dir"]} == {"send", "recv"}, f"{slot}: not a send and a recv")
        need((first["peer"], second["peer"], first["payload"]) == (b, a, second["payload"]), f"{slot}: ends differ")


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as bundle, open(sys.argv[2], encoding="utf-8") as rules:
        verdict, reason = check(bundle.read(), rules.read())
    print(reason or "valid")
    sys.exit(verdict)

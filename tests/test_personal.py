"""Nothing personal in any ledger byte: marked ids, labels and values are searched for, and guessed by dictionary."""

import base64
import hashlib
import struct
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import run_kit

from ledger import Entry, read_bundle
from vfl.seat import RunFile, read_own_holding
from vfl.transcripts import read_transcript

CARD = 'kind = "scorecard"\nmax_bins = 3\nmin_iv = 0.0\n'
MODEL = run_kit.TWO[run_kit.TWO.index('kind = "gbdt"') : run_kit.TWO.index("[privacy]")]
KINDS = {
    "gbdt x25519": run_kit.TWO,
    "scorecard kkrt": run_kit.TWO.replace(MODEL, CARD).replace("[psi]\n", '[psi]\nprotocol = "kkrt"\n'),
    "gbdt paillier": run_kit.TWO.replace("[privacy]\n", '[privacy]\nscheme = "paillier"\nlevel = "disclosed"\n'),
}
SLOW = {"gbdt paillier"}


def marked() -> dict[str, pd.DataFrame]:
    """Tables whose every id and value is unlike anything else in a run."""
    tables = run_kit.frames(400)
    rng = np.random.default_rng(11)
    for party, frame in tables.items():
        for name in run_kit.FEATURES[party]:
            frame[name] = (frame[name] * 1000 + rng.random(len(frame))).round(9)
    return tables


@pytest.fixture(scope="module", params=[pytest.param(k, marks=[pytest.mark.slow] * (k in SLOW)) for k in KINDS])
def run(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("marks")
    path = run_kit.scenario(folder, KINDS[request.param], marked())
    done = run_kit.here("run", path, "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def public_bytes(run: Path) -> dict[str, bytes]:
    """What a regulator, a witness or a peer may come to hold, and the ledgers' own files."""
    found = run_kit.content(run)
    kept = {n: d for n, d in found.items() if "ledger.sqlite" in n or n in ("audit.bundle", "run.json", "policy.txt")}
    assert len(kept) >= 5
    return kept | {"summary.json": found["summary.json"]}


def forms(data: bytes) -> set[bytes]:
    """A secret as it might be written: plain, in hex, in base64 at any offset."""
    shifted = [base64.b64encode(b"\0" * n + data)[-(-n * 8 // 6) + (n > 0) : -4] for n in range(3)]
    return {data, data.hex().encode(), data.hex().upper().encode(), *(s for s in shifted if len(s) >= 8)}


def hashed(data: bytes) -> set[bytes]:
    return {form for name in ("sha256", "sha1", "md5", "sha512") for form in forms(hashlib.new(name, data).digest())}


def secrets(run: Path) -> set[bytes]:
    found: set[bytes] = set()
    agreement = RunFile.read(run).agreement
    for member in agreement.members:
        mine, rows = read_own_holding(run / member.name, agreement), np.load(run / member.name / "rows.npy")
        for text in {*mine.ids, *(str(token) for token in mine.tokens)}:
            found |= forms(text.encode()) | hashed(text.encode())
            found |= hashed(msgspec.msgpack.encode(text)) | hashed(f'"{text}"'.encode())
        values = mine.values[np.isfinite(mine.values)]
        for value in values[:200].tolist():
            found |= {repr(value).encode(), repr(round(value, 6)).encode()}
            for order in "<>":
                double = struct.pack(order + "d", value)
                found |= forms(double) | hashed(double)
        for start in range(0, 100, 2):  # two at a time: four bytes alone could come up by chance
            found |= {values[start : start + 2].astype(order + "f4").tobytes() for order in "<>"}
        if mine.labels is not None:
            for labels in (mine.labels, mine.labels[rows]):
                for kind in ("<i1", "<i8", "<f8", "<f4"):
                    whole = labels.astype(kind).tobytes()
                    found |= hashed(whole) | {whole[:512], whole[-512:]}
                bits = np.packbits(labels.astype(bool)).tobytes()
                found |= forms(bits[:12]) | hashed(bits)
        for array in (rows, mine.values, mine.values[rows]):
            found |= hashed(np.ascontiguousarray(array).tobytes())
    return found


def test_no_byte_of_a_ledger_is_personal(run):
    known = secrets(run)
    assert len(known) > 5_000
    by_length: dict[int, set[bytes]] = {}
    for secret in known:
        by_length.setdefault(len(secret), set()).add(secret)
    held = (run / "scores.csv").read_bytes()
    assert any(held[i : i + 12] in by_length[12] for i in range(len(held))), "the search finds ids where they are"
    for name, data in public_bytes(run).items():
        for length, wanted in by_length.items():
            hits = wanted.intersection(data[i : i + length] for i in range(len(data) - length + 1))
            assert not hits, f"{name}: {sorted(hits)[:3]}"


def entries(run: Path) -> list[Entry]:
    logs = read_bundle(run / "audit.bundle").logs().values()
    return [Entry.from_bytes(body) for log in logs for body in log.entries.split(b"\n")[:-1]]


def test_no_digest_of_a_message_is_that_of_its_contents(run):
    """Who guesses a message right, whichever it is, cannot see from the ledger that the guess is right."""
    digests = {entry.payload.digest for entry in entries(run) if entry.payload}
    digests |= {str(item["digest"]) for entry in entries(run) for item in entry.commit}
    messages = 0
    for party in run_kit.parties(run):
        for record in read_transcript(run / party / "transcript.bin"):
            if record.sent:
                continue
            fields = msgspec.msgpack.decode(record.body)
            assert hashlib.sha256(record.body).hexdigest() in digests
            assert len(fields.pop("blind")) == 16, record.slot
            contents = msgspec.msgpack.encode(fields)
            for guess in (contents, contents[1:], record.slot.encode() + contents):
                assert not {hashlib.new(n, guess).hexdigest() for n in ("sha256", "sha1", "md5")} & digests, record.slot
            messages += 1
    assert messages > 20


def test_equal_messages_have_different_digests(run):
    kinds: dict[str, list[str]] = {}
    for entry in entries(run):
        if entry.payload and entry.dir == "send":
            kinds.setdefault(entry.payload.schema, []).append(entry.payload.digest)
    assert max(map(len, kinds.values())) > 2
    for kind, digests in kinds.items():
        assert len(set(digests)) == len(digests), kind

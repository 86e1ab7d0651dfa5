"""Malformed ciphertext: a party sent as encrypted what no encryption gives.

    {"key":SHOWN,"kind":"malformed-ciphertext","message":SHOWN}                  `paillier`
    {"bins":SHOWN,"key":SHOWN,"kind":"malformed-ciphertext","message":SHOWN}     `lattice`

message  what the accused said: NodeHistograms, or under `paillier` the TreeBlock of a key holder
key      TrainingRows, with scheme and key: the accused heard it, or said it where it holds the key
bins     what the accused said: FeatureBins, from which the length of an answer follows

Under `paillier` a ciphertext is from 1 to n^2 - 1, has no factor of n and randomness in it, is whole, and none stands
twice in one answer or block. Under `lattice` a cell is two numbers below 2^108 in 14 bytes each.

Anyone with the policy can check it. Not provable: that the bytes of a message that its sender does not vouch for are
its bytes; under `receipts = "round"` that is what a key holder's rows are until the round ends.
"""

from __future__ import annotations

from math import gcd

from ledger.canonical import Json
from ledger.errors import BadProof
from ledger.evidence.ciphertexts import bins_of, modulus, numbers
from ledger.evidence.proven import Proven, fields, write
from ledger.evidence.shown import Shown, require_one_conversation, shown
from ledger.payloads import Value
from ledger.policy import Policy

KIND = "malformed-ciphertext"
ANSWER, ROWS = "NodeHistograms", "TreeBlock"
_ELEMENT_BYTES, _ELEMENT_BITS, _VALUES = 14, 108, 2


def malformed_evidence(message: Json, key: Json, bins: Json = None) -> bytes:
    """The message and what it must fit, each as `shown_message` gives it; `bins` under `lattice`."""
    return write(KIND, {"message": message, "key": key} | ({"bins": bins} if bins else {}))


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Who sent what is no ciphertext; raises a LedgerError when the file does not show it."""
    parts = fields(value, "key", "kind", "message", optional=("bins",))
    message, key = shown(parts["message"], policy, ANSWER, ROWS), shown(parts["key"], policy, "TrainingRows")
    more = [shown(parts["bins"], policy, "FeatureBins")] if "bins" in parts else []
    said = message.word.message
    accused, peer = said.sender, said.receiver
    require_one_conversation(accused, peer, [message, key, *more])
    # Rows are sent by who holds the key, answers by the other side.
    holder = accused if said.kind == ROWS else peer
    if key.word.message.sender != holder or any(one.word.message.sender != accused for one in more):
        raise BadProof("key and bins are not those of this conversation")
    fault = _fault(message, key, more)
    if not fault:
        raise BadProof("every ciphertext is one")
    told = f"sent as encrypted what no encryption gives: {fault}"
    return Proven(accused, said.run, told, said.slot, KIND, str(message.word), f"the key: {key.word}")


def _fault(message: Shown, key: Shown, bins: list[Shown]) -> str:
    if message.word.message.kind == ROWS:
        return _no_ciphertexts(message.message.get("rows", b""), modulus(key.message))
    sums = message.message.get("sums")
    if not isinstance(sums, list):
        raise BadProof("the answer has no list of sums")
    for node, part in enumerate(sums):
        if bins:
            fault = _no_elements(part, sum(bins_of(bins[0].message)), key)
        else:
            fault = _no_ciphertexts(part, modulus(key.message))
        if fault:
            return f"node {node + 1} of {len(sums)}, {fault}"
    return ""


def _no_ciphertexts(data: Value, n: int) -> str:
    found = numbers(data, n)
    if found is None:
        return f"the bytes are not whole ciphertexts of {n.bit_length() // 4}"
    seen: set[int] = set()
    for index, c in enumerate(found):
        if not 0 < c < n * n:
            return f"number {index} is not from 1 to n^2 - 1"
        if gcd(c, n) != 1:
            return f"number {index} shares a factor with n"
        if c % n == 1:
            return f"number {index} carries no randomness"
        if c in seen:
            return f"number {index} stands there twice"
        seen.add(c)
    return ""


def _no_elements(data: Value, cells: int, key: Shown) -> str:
    if key.message.get("scheme") != "lattice":
        raise BadProof("the scheme is not the lattice's")
    due = cells * _VALUES * _ELEMENT_BYTES
    if not isinstance(data, bytes) or len(data) != due:
        return f"the bytes are not the {due} of {cells} cells"
    for start in range(0, due, _ELEMENT_BYTES):
        if int.from_bytes(data[start : start + _ELEMENT_BYTES], "little") >> _ELEMENT_BITS:
            return f"number {start // _ELEMENT_BYTES} is not below 2^{_ELEMENT_BITS}"
    return ""

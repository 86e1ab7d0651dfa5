"""Bins that do not sum: a histogram under Paillier encryption that is not one of the rows that it was asked about.

    {"agreement":"{..}","answer":SHOWN,"bins":SHOWN,"key":SHOWN,"kind":"bins-do-not-sum","plaintexts":["1f..",..],
     "query":SHOWN,"roots":["8c..",..],"rows":[SHOWN,..]}

answer      the accused said: NodeHistograms
bins        the accused said: FeatureBins
key         the accused heard: TrainingRows, with the key n
rows        the accused heard: every TreeBlock of that tree, the encrypted rows
query       the accused heard: NodeQuery, which rows are in which node
agreement   the text whose digest stands in the accused's own log: key size and scale of the values
plaintexts  what all ciphertexts of `rows`, then of `answer`, hold, in hex; `roots` prove them (`ledger.openings`)

Why the rows are opened too: a key holder that encrypts rows out of bounds makes an honest partner's sums spill from
one lane into the next. Only with rows in bounds is a wrong sum the accused's doing. And why the accused must have heard
them: a key holder could sign other rows afterwards.

The price: whoever reads the file learns the gradients of all training rows by number, and with them labels. It is for
an arbiter, not for partners. Anyone with the policy can check it. Not provable: bins that were exchanged, or sums of
another column; they sum as they should. See `reexecution`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate

from ledger.canonical import Json
from ledger.errors import BadEntry, BadProof
from ledger.evidence.ciphertexts import KEY_BITS, bins_of, bits_of, modulus, numbers
from ledger.evidence.proven import Proven, fields, items, text, write
from ledger.evidence.shown import Shown, require_one_conversation, shown
from ledger.openings import verify_openings
from ledger.policy import Policy

KIND = "bins-do-not-sum"
_FIELDS = ("agreement", "answer", "bins", "key", "kind", "plaintexts", "query", "roots", "rows")
_MOST_BITS = 52


def closure_evidence(
    agreement: str, shown: dict[str, Json], rows: Sequence[Json], plaintexts: Sequence[int], roots: Sequence[int]
) -> bytes:
    """`shown`: `answer`, `bins`, `key` and `query`; they and `rows` as `shown_message` gives them."""
    opened = {"plaintexts": [f"{m:x}" for m in plaintexts], "roots": [f"{root:x}" for root in roots]}
    return write(KIND, {"agreement": agreement, **shown, "rows": list(rows), **opened})


@dataclass(frozen=True, slots=True)
class Lanes:
    """How (g, h) sums of `rows` rows, with `scale` units to 1, lie in plaintexts: |g| <= 1 and 0 <= h <= 1/4 in a row.

    The layout is that of `vfl.crypto.packing`: cells of `cell_bits`, lowest first, each G * 2^h_bits + H, G signed.
    """

    rows: int
    scale: int

    @property
    def g_sum(self) -> int:
        """Largest |G|."""
        return self.rows * self.scale

    @property
    def h_sum(self) -> int:
        """Largest H."""
        return self.rows * (self.scale // 4)

    @property
    def h_bits(self) -> int:
        """Width of the H lane: magnitude and a guard bit."""
        return self.h_sum.bit_length() + 1

    @property
    def cell_bits(self) -> int:
        """Width of a cell; the G lane has a sign bit too."""
        return self.g_sum.bit_length() + 2 + self.h_bits

    def slots(self, bits: int) -> int:
        """Cells in one plaintext."""
        return (bits - 2) // self.cell_bits

    def row(self, plaintext: int, n: int) -> tuple[int, int]:
        """(g, h) of a row; raises BadProof when it is out of bounds."""
        signed = plaintext - n if plaintext > n // 2 else plaintext
        g, h = signed >> self.h_bits, signed & ((1 << self.h_bits) - 1)
        if abs(g) > self.scale or h > self.scale // 4:
            raise BadProof("a row that the key holder encrypted is out of bounds: then no sum of rows says anything")
        return g, h

    def cells(self, plaintexts: Sequence[int], n: int, count: int) -> list[tuple[int, int]] | None:
        """(G, H) of every cell of a node; None where these are no sums of rows."""
        per, width = self.slots(n.bit_length()), self.cell_bits
        half, mask, h_mask = 1 << (width - 1), (1 << width) - 1, (1 << self.h_bits) - 1
        found = []
        for start, plaintext in zip(range(0, count, per), plaintexts, strict=True):
            rest = plaintext - n if plaintext > n // 2 else plaintext
            for _ in range(start, min(start + per, count)):
                signed = ((rest + half) & mask) - half
                rest = (rest - signed) >> width
                found.append((signed >> self.h_bits, signed & h_mask))
            if rest:
                return None
        return found if all(abs(g) <= self.g_sum and h <= self.h_sum for g, h in found) else None


def check(value: dict[str, Json], policy: Policy) -> Proven:
    """Whose histogram is none of the rows asked for; raises a LedgerError when the file does not show it."""
    parts = fields(value, *_FIELDS)
    answer, bins = shown(parts["answer"], policy, "NodeHistograms"), shown(parts["bins"], policy, "FeatureBins")
    key, query = shown(parts["key"], policy, "TrainingRows"), shown(parts["query"], policy, "NodeQuery")
    tree = [shown(one, policy, "TreeBlock") for one in items(parts["rows"], "rows")]
    said, accused = answer.word.message, answer.word.message.sender
    _require_conversation(answer, bins, [key, query, *tree])
    bits, scale = _agreed(text(parts["agreement"], "agreement"), key.word.agreement)
    n, train = modulus(key.message, bits), sum(bits_of(key.message.get("train")))
    lanes, layout = Lanes(train, scale), bins_of(bins.message)
    encrypted, nodes, answered = _rows_of(tree, query, n), query.message.get("rows"), answer.message.get("sums")
    each = -(-sum(layout) // lanes.slots(bits))
    if not isinstance(nodes, list) or not isinstance(answered, list) or len(nodes) != len(answered):
        raise BadProof("the answer is not of the nodes asked for")
    sums = [numbers(part, n) or [] for part in answered]
    if len(encrypted) != train or any(len(part) != each for part in sums):
        raise BadProof("there is not one ciphertext for each row, and for each part of an answer")
    opened = [_hex(one) for one in items(parts["plaintexts"], "plaintexts")]
    roots = [_hex(one) for one in items(parts["roots"], "roots")]
    verify_openings(n, [*encrypted, *(c for part in sums for c in part)], opened, roots)
    values = [lanes.row(m, n) for m in opened[:train]]
    for index, named in enumerate(nodes):
        asked = [pair for pair, there in zip(values, bits_of(named), strict=False) if there]
        due = sum(g for g, _ in asked), sum(h for _, h in asked)
        start = train + index * each
        wrong = _difference(lanes.cells(opened[start : start + each], n, sum(layout)), layout, due)
        if wrong:
            told = f"said a histogram of node {index + 1} of {len(nodes)} in which {wrong}"
            return Proven(accused, said.run, told, said.slot, KIND, str(answer.word), f"the rows: {query.word}")
    raise BadProof("every feature sums to the rows of its node")


def _difference(cells: list[tuple[int, int]] | None, layout: Sequence[int], due: tuple[int, int]) -> str:
    if cells is None:
        return "a cell holds what no sum of rows is"
    for feature, (start, count) in enumerate(zip(accumulate(layout, initial=0), layout, strict=False)):
        own = cells[start : start + count]
        found = sum(g for g, _ in own), sum(h for _, h in own)
        if found != due:
            return f"the bins of feature {feature} sum to {found}, the rows to {due}"
    return ""


def _require_conversation(answer: Shown, bins: Shown, heard: list[Shown]) -> None:
    accused, holder = answer.word.message.sender, answer.word.message.receiver
    require_one_conversation(accused, holder, [answer, bins, *heard])
    if bins.word.message.sender != accused or any(one.word.message.sender != holder for one in heard):
        raise BadProof("answer and bins are the accused's, all else is what it heard")
    query = heard[1]
    if answer.place != query.place or answer.message.get("node") != query.message.get("node"):
        raise BadProof("the answer is not one to the query")


def _agreed(agreement: str, digest: str) -> tuple[int, int]:
    """Key size and units to 1, from the agreement that the accused's own log names."""
    if sha256(agreement.encode()).hexdigest() != digest:
        raise BadProof("the agreement is not the one that the accused's log names")
    try:
        body = json.loads(agreement)
        privacy, bits = body["privacy"], body["model"]["gradient_bits"]
        plain = privacy["scheme"] == "paillier" and not privacy.get("cell_noise")
        if plain and privacy["key_bits"] in KEY_BITS and type(bits) is int and 2 <= bits <= _MOST_BITS:
            return int(privacy["key_bits"]), 1 << bits
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise BadProof("the agreement is not about exact sums under Paillier encryption")


def _rows_of(tree: Sequence[Shown], query: Shown, n: int) -> list[int]:
    """The encrypted rows of the query's tree, complete and in order."""
    found: list[int] = []
    for index, block in enumerate(tree):
        own = numbers(block.message.get("rows", b""), n)
        whole = block.message.get("index") == index and block.message.get("last") == (index + 1 == len(tree))
        if own is None or not whole or block.place != query.place:
            raise BadProof("the blocks of rows are not those of the query's tree, complete and in order")
        found += own
    return found


def _hex(value: Json) -> int:
    try:
        number = int(text(value, "a number"), 16)
    except ValueError:
        number = -1
    if f"{number:x}" != value:
        raise BadEntry(f"a number is in hex, in its one form, not {value!r:.60}")
    return number

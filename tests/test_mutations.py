"""Every kind of message, found by reflection, with its bytes changed: refused as declared, or another well-formed one.

What travels is a frame with a message in it, or with what a notary says; each of these is a kind here.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import random
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

import vfl
from ledger.keys import Identity
from ledger.store import MemoryStore
from vfl import desk, protocols
from vfl.channel import Step
from vfl.clock import FixedClock
from vfl.desk import MAX_FRAME, Cosignature, Envelope, Head, Opened
from vfl.errors import BrokenPromise, Malformed, Unexpected
from vfl.notary import LedgerNotary, PeerKeys
from vfl.wire import MAX_MESSAGE, Message, pack, unpack

QUICK, FULL = 1000, 100_000  # mutations of a kind
GROWTH = 32 * 2**10  # KiB that the process may grow by, whatever it is sent
BOMBS = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
BOMBS += [b"\xc9\xff\xff\xff\xff\x01", b"\xcf" + b"\xff" * 8, b"\x91" * 50, b"\x81" * 50]
DEEP = [b"\x91" * 100_000, b"\x81" * 100_000, b"[" * 100_000, b'{"note":' * 20_000]
CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
BANK, TELECOM = Identity("bank", b"\1" * 32), Identity("telecom", b"\2" * 32)
AMOUNTS = [QUICK, pytest.param(FULL, marks=pytest.mark.slow)]


def kinds() -> list[type[Message]]:
    """All classes of messages that the package has."""
    for module in pkgutil.iter_modules(protocols.__path__, "vfl.protocols."):
        importlib.import_module(module.name)
    importlib.import_module("vfl.all_rows")
    found, left = [], [Message]
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        found += [kind] if kind is not Message and kind.__module__.startswith("vfl.") else []
    return sorted(found, key=lambda kind: kind.__name__)


KINDS = kinds()
FRAMES = [
    Opened(3, b"credential"),
    Envelope("psi/0/Declare/bank>telecom/0", bytes(64), pack(Message())),
    Head(b'{"note":"","proofs":{},"gossip":{}}'),
    Cosignature("\u2014 telecom/witness AAAA\n".encode()),
]


def test_no_kind_is_forgotten() -> None:
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(vfl.__path__, "vfl.") if _tells(m.name)]
    declared = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Message) and value is not Message
    }
    assert declared == set(KINDS)
    assert len(KINDS) > 50


def _tells(module: str) -> bool:
    return module.startswith("vfl.protocols.") or module in ("vfl.all_rows", "vfl.run", "vfl.desk", "vfl.terms")


def example(kind: Any, chance: random.Random) -> Any:
    """A value of a type as msgspec describes it, within its bounds."""
    match kind:
        case msgspec.inspect.IntType():
            low = kind.ge if kind.ge is not None else (kind.gt + 1 if kind.gt is not None else 0)
            return low + chance.randrange(3) if kind.le is None else chance.randint(low, kind.le)
        case msgspec.inspect.FloatType():
            return chance.choice([0.5, 1.0, (kind.le or 1.0)]) if kind.ge is None else float(kind.ge)
        case msgspec.inspect.BoolType():
            return chance.random() < 0.5
        case msgspec.inspect.StrType():
            return "a" * max(kind.min_length or 0, min(4, kind.max_length or 4))
        case msgspec.inspect.BytesType():
            return chance.randbytes(max(kind.min_length or 0, min(24, kind.max_length or 24)))
        case msgspec.inspect.NoneType():
            return None
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            size = max(kind.min_length or 0, min(2, 2 if kind.max_length is None else kind.max_length))
            return [example(kind.item_type, chance) for _ in range(size)]
        case msgspec.inspect.TupleType():
            return [example(item, chance) for item in kind.item_types]
        case msgspec.inspect.DictType():
            return {example(kind.key_type, chance): example(kind.value_type, chance)}
        case msgspec.inspect.UnionType():
            return example(chance.choice(kind.types), chance)
        case msgspec.inspect.LiteralType():
            return chance.choice(list(kind.values))
        case msgspec.inspect.StructType():
            fields = {field.encode_name: example(field.type, chance) for field in kind.fields}
            tag = {kind.tag_field: kind.tag} if kind.tag_field else {}
            return tag | {name: value for name, value in fields.items() if name != "blind"}
    raise AssertionError(f"no example of {kind}")


def encoded(kind: type[Message], chance: random.Random) -> bytes:
    """A well-formed message of a kind."""
    body = msgspec.msgpack.encode(example(msgspec.inspect.type_info(kind), chance))
    message = msgspec.msgpack.decode(body, type=kind)
    return pack(message, chance.choice([b"", chance.randbytes(16)]))


def mutations(whole: Callable[[], bytes], count: int, chance: random.Random) -> Iterator[bytes]:
    """Bytes flipped, cut, added, repeated, moved, replaced by a bomb, or random from the start."""
    yield from BOMBS + DEEP
    data = whole()
    for number in range(count):
        if number % 50 == 0:
            data = whole()
        at = chance.randrange(len(data)) if data else 0
        match chance.randrange(8):
            case 0:
                yield data[:at]
            case 1:
                yield data[:at] + chance.randbytes(chance.randrange(1, 6)) + data[at:]
            case 2:
                end = chance.randrange(at, len(data) + 1)
                yield data[:end] + data[at:]
            case 3:
                end = chance.randrange(at, len(data) + 1)
                yield data[:at] + data[end:]
            case 4:
                yield data[:at] + chance.choice(BOMBS) + data[at + 1 :]
            case 5:
                yield chance.randbytes(chance.randrange(40))
            case _:
                changed = bytearray(data)
                for _ in range(chance.randint(1, 3)):
                    changed[chance.randrange(len(data))] = chance.choice((0, 0x7F, 0x80, 0xC0, 0xFF, at & 0xFF))
                yield bytes(changed)


def most() -> int:
    """The most memory this process ever had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("count", AMOUNTS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_changed_message_is_malformed_or_another_message(kind: type[Message], count: int) -> None:
    chance = random.Random(kind.__name__)
    assert isinstance(unpack(kind, encoded(kind, chance)), kind)
    refused, before = 0, most()
    for data in mutations(lambda: encoded(kind, chance), count, chance):
        try:
            message = unpack(kind, data)
        except Malformed:
            refused += 1
        else:
            assert pack(message) == data
    assert refused > count // 4
    assert most() - before < GROWTH


@pytest.mark.parametrize("count", AMOUNTS)
@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_changed_frame_is_refused_or_another_frame(frame: Any, count: int) -> None:
    chance, before = random.Random(7), most()
    for data in mutations(lambda: msgspec.msgpack.encode(frame), count, chance):
        try:
            desk._decode(data, type(frame))
        except (Malformed, Unexpected):
            continue
    with pytest.raises(Malformed, match="larger than the limit"):
        desk._decode(bytes(MAX_FRAME + 1), type(frame))
    with pytest.raises(Malformed, match="larger than the limit"):
        unpack(KINDS[0], bytes(MAX_MESSAGE + 1))
    assert most() - before < GROWTH + 2 * MAX_FRAME // 2**10


# What notaries say to each other


def pair() -> tuple[LedgerNotary, LedgerNotary]:
    """Two notaries that have met, with a message between them."""
    keys = {one.name: PeerKeys(one.identity.verifying, one.witness.verifying) for one in (BANK, TELECOM)}
    bank = LedgerNotary(MemoryStore(), BANK, "run-1", "ab" * 32, {"telecom": keys["telecom"]}, CLOCK)
    telecom = LedgerNotary(MemoryStore(), TELECOM, "run-1", "ab" * 32, {"bank": keys["bank"]}, CLOCK)
    bank.introduce("telecom", telecom.credential())
    telecom.introduce("bank", bank.credential())
    said = Step("psi", 0, "Declare", "bank", "telecom", 0), bytes(32), 9
    telecom.received(*said, bank.sending(*said))
    return bank, telecom


def standing(one: LedgerNotary) -> tuple[int, bytes, int]:
    """What must not move: the log, and what was cosigned of the peer's."""
    return len(one.log), one.log.root(), one._witness.size(f"{next(iter(one._peers))}/run-1")


NOTARY_KINDS = ("credential", "head", "cosignature")


@pytest.mark.parametrize("count", AMOUNTS)
@pytest.mark.parametrize("kind", NOTARY_KINDS)
def test_what_a_notary_hears_is_refused_and_changes_nothing(kind: str, count: int) -> None:
    bank, telecom = pair()
    head = bank.head("telecom")
    whole, hear = {
        "credential": (bank.credential(), lambda data: telecom.introduce("bank", data)),
        "head": (head, lambda data: telecom.countersign({"bank": data})),
        "cosignature": (b"", lambda data: bank.countersigned("telecom", data)),
    }[kind]
    if kind == "cosignature":
        whole = telecom.countersign({"bank": head})["bank"]
    hearer = bank if kind == "cosignature" else telecom
    hear(whole)  # an honest twin: from now on it is known, and what is accepted again must say the same
    chance, start, before, refused = random.Random(kind), standing(hearer), most(), 0
    for data in mutations(lambda: whole, count, chance):
        try:
            hear(data)
        except BrokenPromise as error:
            refused += error.peer != ""
        else:
            assert _same(kind, data, whole), data
    assert refused > count // 2
    assert standing(hearer) == start
    assert most() - before < GROWTH


def _same(kind: str, data: bytes, whole: bytes) -> bool:
    """Whether accepted bytes say what the honest ones say, where JSON may be written in several ways."""
    if kind == "cosignature":
        return data.strip() == whole.strip()
    said, due = json.loads(data), json.loads(whole)
    return bool(said == due if kind == "credential" else said["note"] == due["note"])

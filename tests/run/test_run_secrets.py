"""Nothing on the wire that should not be there."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os

import numpy as np
import pytest
from memory_run import ACTIVE, Told, World, play
from run_worlds import PAILLIER, encrypted_run

from vfl.bits import pack_bits
from vfl.crypto.paillier import PaillierKeyHolder
from vfl.crypto.paillier_keys import PrivateKey
from vfl.protocols.boost import HintBlock, NodeHistograms, NodeQuery, SplitsChosen, TreeBlock
from vfl.randomness import Randomness
from vfl.wire import unpack


def forms_of_number(value: int) -> list[bytes]:
    size = (value.bit_length() + 7) // 8
    return [
        value.to_bytes(size, "big"),
        value.to_bytes(size, "little"),
        str(value).encode(),
        b"%x" % value,
        b"%X" % value,
    ]


def forms_of_bytes(data: bytes) -> list[bytes]:
    return [data, data[::-1], data.hex().encode(), base64.b64encode(data).rstrip(b"=")]


def forms_of_id(token: str) -> list[bytes]:
    data = token.encode()
    hashes = [hashlib.new(name, data).digest() for name in ("sha256", "sha1", "md5", "sha512", "blake2b")]
    return [*forms_of_bytes(data), *hashes, *(digest.hex().encode() for digest in hashes)]


def forms_of_real(value: float) -> list[bytes]:
    exact = np.float64(value)
    return [exact.tobytes(), exact.byteswap().tobytes(), np.float32(value).tobytes(), repr(float(value)).encode()]


def own_randomness(world: World, name: str) -> Randomness:
    return Randomness(hashlib.sha256(b"seed" + bytes([world.seeds[name]])).digest())


def key_of(world: World, told: Told) -> PrivateKey:
    """The active party's key, drawn again from its seed."""
    rows = int(told.outcomes[ACTIVE].parts.train.sum())
    holder = world.terms.scheme.key_holder(rows, own_randomness(world, ACTIVE).child("key"))
    assert isinstance(holder, PaillierKeyHolder)
    return holder.key


def keys(world: World, told: Told) -> dict[str, list[bytes]]:
    """What decrypts, in every form."""
    if world is not PAILLIER:
        # The secrets of a query are drawn for it; what they are drawn from would give them all.
        return {"key's randomness": forms_of_bytes(own_randomness(world, ACTIVE).child("key").bytes(32))}
    found: dict[str, list[bytes]] = {}
    key = key_of(world, told)
    private = key.expose()
    assert private.p * private.q == key.public.n
    for name in ("p", "q", "hp", "hq", "p_inverse"):
        found[f"private key, {name}"] = forms_of_number(int(getattr(private, name)))
    phi = (private.p - 1) * (private.q - 1)
    found["private key, phi"] = forms_of_number(int(phi))
    return found


def canaries(world: World, told: Told) -> dict[str, list[bytes]]:
    """By what it is, every form in which a secret could show."""
    bank = told.outcomes[ACTIVE]
    found: dict[str, list[bytes]] = {}
    labels = {"aligned": bank.labels, "training": bank.labels[bank.parts.train], "held out": bank.labels[bank.holdout]}
    own = world.holdings[ACTIVE].labels
    assert own is not None
    for what, column in (labels | {"own": own}).items():
        for values, name in ((column, "label"), (1 - column, "opposite of label")):
            text = "".join(map(str, values)).encode()
            found[f"{name}, {what}"] = [values.tobytes(), text, *forms_of_bytes(pack_bits(values > 0))[:1]]
    for name, holding in world.holdings.items():
        for value in holding.values[~np.isnan(holding.values)].tolist():
            found[f"value of {name}: {value}"] = forms_of_real(value)
        for token in holding.tokens:
            found[f"id of {name}: {token}"] = forms_of_id(token)
        seed = hashlib.sha256(b"seed" + bytes([world.seeds[name]])).digest()
        found[f"seed of {name}"] = forms_of_bytes(seed)
    return found | keys(world, told)


def shows(wire: bytes, found: dict[str, list[bytes]], least: int = 4) -> list[str]:
    return [what for what, forms in found.items() if any(form in wire for form in forms if len(form) >= least)]


def test_no_secret_is_in_any_message(real: tuple[World, Told]) -> None:
    world, heard = real
    found = canaries(world, heard)
    wire = b"\0".join([body for _, body in heard.said] + [slot.encode() for slot, _ in heard.said])
    bodies = {record.body for records in heard.records.values() for record in records if not record.sent}
    assert bodies == {body for _, body in heard.said}
    assert sum(map(len, bodies)) > 50_000
    # Four given bytes are somewhere in megabytes of ciphertext by chance; six are not.
    assert shows(wire, found, 4 if world is PAILLIER else 6) == []
    bulk = ("HintBlock", "NodeQuery", "NodeHistograms")
    rest = b"\0".join(body for slot, body in heard.said if slot.split("/")[2] not in bulk)
    assert shows(rest, found) == []


@pytest.mark.parametrize("least", [4, 6])
def test_the_search_finds_what_is_planted(real: tuple[World, Told], least: int) -> None:
    found = canaries(*real)
    for what in list(found)[:: max(1, len(found) // 40)]:
        assert any(len(form) >= least for form in found[what])
        for form in found[what]:
            if len(form) >= least:
                assert what in shows(os.urandom(500) + form + os.urandom(500), found, least)


def test_the_clear_scheme_would_be_found_out(told: Told) -> None:
    """Without encryption the gradients tell the labels: the run above must not pass for lack of trying."""
    bank = told.outcomes[ACTIVE]
    block = next(unpack(TreeBlock, body).rows for slot, body in told.said if "/TreeBlock/" in slot)
    g = np.frombuffer(block, "<i8").reshape(-1, 2)[:, 0]
    assert ((g < 0) == (bank.labels[bank.parts.train] == 1)).all()


@pytest.mark.usefixtures("encrypted")
def test_every_ciphertext_is_random_and_used_once(paillier: Told) -> None:
    bank = paillier.outcomes[ACTIVE]
    n = key_of(PAILLIER, paillier).public.n
    blobs = [unpack(TreeBlock, body).rows for slot, body in paillier.said if "/TreeBlock/bank>telecom" in slot]
    blobs += answers_of([body for slot, body in paillier.said if "/NodeHistograms/" in slot])
    assert all(len(blob) % 512 == 0 for blob in blobs)
    found = [int.from_bytes(blob[i : i + 512], "big") for blob in blobs for i in range(0, len(blob), 512)]
    assert len(found) > 2 * int(bank.parts.train.sum())
    assert len(set(found)) == len(found)
    assert all(c % n != 1 and 0 < c < n * n for c in found)


@pytest.mark.usefixtures("encrypted")
def test_hidden_rows_are_random_and_no_query_names_any() -> None:
    heard = encrypted_run("lattice")
    said = {kind: [body for slot, body in heard.said if slot.split("/")[2] == kind] for kind in KINDS}
    assert not said["TreeBlock"]
    assert not any(unpack(NodeQuery, body).rows for body in said["NodeQuery"])
    assert {split.rows for body in said["SplitsChosen"] for split in unpack(SplitsChosen, body).splits} == {b""}
    assert len(said["NodeQuery"]) == len(said["NodeHistograms"]) > 4
    assert not said["QueryBlock"], "so few rows fit into the query itself"
    # Both partners are sent the same query; queries, the hints of the partners and answers never repeat an element.
    blobs = {unpack(NodeQuery, body).block for body in said["NodeQuery"]}
    assert 2 * len(blobs) == len(said["NodeQuery"])
    elements = [blob[i : i + 14] for blob in blobs for i in range(0, len(blob), 14)]
    elements += [s[i : i + 14] for s in answers_of(said["NodeHistograms"]) for i in range(0, len(s), 14)]
    assert len(set(elements)) == len(elements)
    hints = b"".join(unpack(HintBlock, body).hint for body in said["HintBlock"])
    words = np.frombuffer(hints, "<u8")
    assert len(np.unique(words)) == len(words)
    for data in (b"".join(blobs), hints):
        top = np.frombuffer(data, np.uint8).reshape(-1, 14 if data is not hints else 8)[:, :6]
        ones = np.unpackbits(top).mean()
        assert abs(ones - 0.5) < 5 * 0.5 / np.sqrt(top.size * 8)


KINDS = ("TreeBlock", "NodeQuery", "SplitsChosen", "QueryBlock", "NodeHistograms", "HintBlock")


def answers_of(bodies: list[bytes]) -> list[bytes]:
    return [one for body in bodies for one in unpack(NodeHistograms, body).sums]


def test_messages_of_one_kind_do_not_tell_labels_by_their_size(real: tuple[World, Told]) -> None:
    world, heard = real
    bank = world.holdings[ACTIVE]
    assert bank.labels is not None
    other = play(world.with_holding(dataclasses.replace(bank, labels=(1 - bank.labels).astype(np.int8))))
    for kind in ("TreeBlock",) if world is PAILLIER else ("NodeQuery",):
        sizes = [{len(body) for slot, body in of.said if f"/{kind}/bank>" in slot} for of in (heard, other)]
        assert sizes[0] == sizes[1] != set()
    for kind in ("HintBlock", "NodeHistograms"):
        sizes = [{len(body) for slot, body in of.said if f"/{kind}/" in slot} for of in (heard, other)]
        assert sizes[0] == sizes[1]

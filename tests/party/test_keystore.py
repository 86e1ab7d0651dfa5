"""Keys at rest: only the passphrase opens them, and nothing else does."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import party_kit
import pytest

from vfl.errors import UsageError
from vfl.net.pins import pin_of
from vfl.party import keystore, sealing
from vfl.party.certificates import new_tls_key
from vfl.party.keystore import FILE, Keys, unlock


@pytest.fixture(scope="module")
def keys(made: Path) -> Keys:
    return unlock(made / "bank/state", party_kit.PASSPHRASE)


def test_unlocked_keys_are_those_of_the_card(keys: Keys, made: Path) -> None:
    assert keys.identity.public.identity.vkey in (made / "bank/state/card.txt").read_text()
    assert len(keys.seed) == 32
    assert [one.certificate for one in keys.tls] == list(keystore.certificates(made / "bank/state"))
    assert keys.certificate == keys.tls[0].certificate
    assert keys.tls_key.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_no_secret_stands_in_the_folder_or_in_a_repr(keys: Keys, made: Path) -> None:
    forms = [keys.seed, keys.seed.hex().encode(), base64.b64encode(keys.seed), keys.own, keys.own.hex().encode()]
    for one in keys.tls:
        forms += [one.key, one.key.splitlines()[1], base64.b64decode(b"".join(one.key.splitlines()[1:-1]))[-100:-60]]
    files = [path for path in (made / "bank").rglob("*") if path.is_file()]
    assert len(files) >= 3
    for path in files:
        data = path.read_bytes()
        assert not [form for form in forms if form in data], path
    assert not [form for form in forms if form in repr(keys).encode()]
    assert repr(keys.seed) not in repr(keys)


def test_everything_is_for_the_owner_alone(made: Path) -> None:
    state = made / "bank/state"
    modes = party_kit.modes(state)
    assert state.stat().st_mode & 0o777 == 0o700
    assert modes[FILE] == 0o600
    assert {modes[name] for name in ("peers", "runs", "agreements", "approvals")} == {0o700}


def test_parameters_are_those_of_rfc_9106_or_better(made: Path) -> None:
    wrapped = keystore.read(made / "bank/state")["wrapped"]
    assert wrapped["kdf"] == "argon2id"
    assert (wrapped["iterations"], wrapped["lanes"]) >= (3, 4)
    assert wrapped["memory_kib"] >= 64 * 1024
    assert len(bytes.fromhex(wrapped["salt"])) == 16


def test_a_wrong_passphrase_opens_nothing(made: Path) -> None:
    with pytest.raises(UsageError, match=r"keys.json does not open: the passphrase is wrong"):
        unlock(made / "bank/state", party_kit.PASSPHRASE + " ")


def altered(parties: Path, *changes: tuple[str, object]) -> Path:
    """The bank's state with fields of its key file changed; `a.b` is a field of a table."""
    state = parties / "bank/state"
    body = json.loads((state / FILE).read_text())
    for place, value in changes:
        *path, last = place.split(".")
        target = body
        for step in path:
            target = target[step]
        target[last] = value
    (state / FILE).write_text(json.dumps(body))
    return state


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("name", "telecom", "was altered"),
        ("certificates", ["a", "b"], "was altered"),
        ("format", "tallystick-keys-v2", "no key file of a party"),
        ("more", 1, "no key file of a party"),
        ("certificates", "x", "no key file of a party"),
        ("certificates", [1, 2], "no two certificates"),
        ("wrapped", [], "not sealed under a passphrase"),
        ("wrapped.kdf", "scrypt", "not sealed under a passphrase"),
        ("wrapped.memory_kib", 8, "65536 to 2097151"),
        ("wrapped.memory_kib", 2**40, "65536 to 2097151"),
        ("wrapped.iterations", 1, "3 to 32"),
        ("wrapped.iterations", 10**9, "3 to 32"),
        ("wrapped.iterations", True, "3 to 32"),
        ("wrapped.lanes", "4", "1 to 16"),
        ("wrapped.salt", "zz", "salt is not 16 bytes"),
        ("wrapped.nonce", "00", "wrong form"),
        ("wrapped.sealed", "!", "wrong form"),
        ("wrapped.sealed", "", "was altered"),
        ("sealed.nonce", 3, "wrong form"),
        ("sealed", {}, "wrong form"),
    ],
)
def test_a_changed_field_is_refused(parties: Path, place: str, value: object, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        unlock(altered(parties, (place, value)), party_kit.PASSPHRASE)
    assert "keys.json" in str(caught.value)


def test_cheaper_parameters_do_not_open_what_dearer_ones_sealed(parties: Path) -> None:
    with pytest.raises(UsageError, match="was altered"):
        unlock(altered(parties, ("wrapped.lanes", 1)), party_kit.PASSPHRASE)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_damaged(parties: Path, share: float) -> None:
    path = parties / "bank/state" / FILE
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UsageError, match="is damaged: it is not whole") as caught:
        unlock(path.parent, party_kit.PASSPHRASE)
    assert "backup" in caught.value.remedy


def test_a_file_that_others_may_read_is_refused_before_it_is_opened(parties: Path) -> None:
    path = parties / "bank/state" / FILE
    path.chmod(0o640)
    with pytest.raises(UsageError, match=r"mode 0640: others may read it") as caught:
        unlock(path.parent, party_kit.PASSPHRASE)
    assert f"chmod go= {path}" in caught.value.remedy


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"keys.json cannot be read: No such file"):
        unlock(tmp_path, party_kit.PASSPHRASE)


def test_the_passphrase_changes_and_an_unlocked_service_goes_on(parties: Path, keys: Keys) -> None:
    state = parties / "bank/state"
    keystore.change_passphrase(state, party_kit.PASSPHRASE, "another one, just as long")
    assert unlock(state, "another one, just as long") == keys
    assert keys.again(state) == keys
    with pytest.raises(UsageError, match="passphrase is wrong"):
        unlock(state, party_kit.PASSPHRASE)


def test_an_unlocked_service_sees_rotated_keys(parties: Path, keys: Keys) -> None:
    state = parties / "bank/state"
    tls = [keys.tls[1], new_tls_key("bank", party_kit.NOW, 10)]
    keystore.replace_tls(state, keys, tls)
    again = keys.again(state)
    assert again.certificate == keys.tls[1].certificate
    assert again.seed == keys.seed
    assert pin_of(again.tls[1].certificate) != pin_of(keys.certificate)


def test_keys_are_never_overwritten(parties: Path, keys: Keys) -> None:
    with pytest.raises(UsageError, match="never overwritten"):
        keystore.create(parties / "bank/state", "bank", keys.seed, keys.tls, party_kit.PASSPHRASE)


def test_a_seal_is_bound_to_its_place() -> None:
    sealed = sealing.seal_with(bytes(32), b"content", b"here")
    assert sealing.unseal_with(bytes(32), sealed, b"here") == b"content"
    with pytest.raises(UsageError, match="was altered"):
        sealing.unseal_with(bytes(32), sealed, b"there")

"""Backup and restore of a party: what is in it, what is not, and what is refused."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import party_kit
import pytest

from vfl.errors import UsageError
from vfl.party import backup as backing
from vfl.party.backup import NOTE, SUMS, back_up
from vfl.party.config import read_party_file
from vfl.party.keystore import Keys, unlock
from vfl.party.restore import restore
from vfl.party.state import own_card, refusals_to_serve, trusted

Edit = Callable[[dict[str, tarfile.TarInfo], dict[str, bytes]], None]


@pytest.fixture(scope="session")
def keys(made: Path) -> Keys:
    return unlock(made / "bank/state", party_kit.PASSPHRASE)


@pytest.fixture
def saved(parties: Path, keys: Keys) -> Path:
    """A backup of the bank, which has a note of an approval, a lock and a file that is being written."""
    state = parties / "bank/state"
    for name in ("approvals/pins-risk", "serve.lock", "card.txt.part", "runs/x.partial/bank/ledger.sqlite-wal"):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text("passing")
    (state / "agreements/joint.json").write_text("signed")
    back_up(read_party_file(parties / "bank"), keys, parties / "bank.backup", party_kit.NOW)
    return parties / "bank.backup"


def restored(file: Path, folder: Path) -> None:
    restore(file, folder, party_kit.PASSPHRASE, party_kit.NOW)


def test_a_party_comes_back_as_it_was(saved: Path, parties: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    found = restore(saved, parties / "again/bank", party_kit.PASSPHRASE, party_kit.NOW)
    before, after = parties / "bank", parties / "again/bank"
    assert found.fingerprint == own_card(before / "state").fingerprint
    for name in ("party.toml", "state/keys.json", "state/card.txt", "state/peers/telecom.card",
                 "state/agreements/joint.json"):  # fmt: skip
        assert (after / name).read_bytes() == (before / name).read_bytes()
        assert stat.S_IMODE((after / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in after.iterdir()) == ["party.toml", "state"]
    left = {path.relative_to(after / "state").as_posix() for path in (after / "state").rglob("*") if path.is_file()}
    assert left == {"keys.json", "card.txt", "peers/telecom.card", "agreements/joint.json"}, "approvals count once"
    party = read_party_file(after)
    assert trusted(party.state).keys() == {"telecom"}
    assert refusals_to_serve(party, party.state) == []


def test_nothing_is_overwritten(saved: Path, parties: Path, keys: Keys) -> None:
    data = saved.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        back_up(read_party_file(parties / "bank"), keys, saved, party_kit.NOW)
    assert saved.read_bytes() == data
    with pytest.raises(UsageError, match=r"party\.toml exists already") as caught:
        restored(saved, parties / "bank")
    assert "may be newer" in caught.value.remedy
    (parties / "new").mkdir()
    (parties / "new/.restoring").mkdir()
    with pytest.raises(UsageError, match="left of another restore"):
        restored(saved, parties / "new")
    with pytest.raises(UsageError, match="there is no folder"):
        back_up(read_party_file(parties / "bank"), keys, parties / "nowhere/bank.backup", party_kit.NOW)


def test_a_folder_with_other_things_in_it_keeps_them(saved: Path, parties: Path) -> None:
    (parties / "new").mkdir()
    (parties / "new/customers.csv").write_text("mine")
    restored(saved, parties / "new")
    assert sorted(path.name for path in (parties / "new").iterdir()) == ["customers.csv", "party.toml", "state"]


def test_the_passphrase_is_that_of_the_day_of_the_backup(saved: Path, parties: Path) -> None:
    with pytest.raises(UsageError, match="the passphrase is wrong"):
        restore(saved, parties / "new", "some other words", party_kit.NOW)
    assert not (parties / "new").exists()


def _alter(file: Path, edit: Edit) -> Path:
    """The archive with its members changed."""
    with tarfile.open(file) as archive:
        members = {one.name: one for one in archive}
        contents = {name: archive.extractfile(one).read() for name, one in members.items() if one.isreg()}
    edit(members, contents)
    changed = file.with_name("altered")
    with tarfile.open(changed, "w") as archive:
        for name, one in members.items():
            one.size = len(contents.get(name, b""))
            archive.addfile(one, io.BytesIO(contents.get(name, b"")))
    return changed


def _add(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Edit:
    def edit(members: dict[str, tarfile.TarInfo], contents: dict[str, bytes]) -> None:
        members["added"] = one = tarfile.TarInfo(name)
        one.type, one.linkname = kind, link
        contents["added"] = b"" if kind != tarfile.REGTYPE else b"planted"

    return edit


def _change(name: str, data: bytes | None) -> Edit:
    def edit(members: dict[str, tarfile.TarInfo], contents: dict[str, bytes]) -> None:
        if data is None:
            del members[name]
        else:
            contents[name] = data

    return edit


def _resummed(members: dict[str, tarfile.TarInfo], contents: dict[str, bytes]) -> None:
    """Whoever plants a peer writes the list anew, but cannot sign it."""
    contents["state/peers/telecom.card"] = b"another"
    del members[SUMS], members[NOTE]
    sums = "".join(f"{sha256(contents[name]).hexdigest()}  {name}\n" for name in sorted(members)).encode()
    note = contents[NOTE].decode()
    for name, data in (
        (SUMS, sums),
        (NOTE, note.replace(note.split("files ")[1][:64], sha256(sums).hexdigest()).encode()),
    ):
        members[name], contents[name] = tarfile.TarInfo(name), data


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (_add("../outside"), "a backup holds no"),
        (_add("state/../../outside"), "a backup holds no"),
        (_add("/etc/outside"), "a backup holds no"),
        (_add("elsewhere"), "a backup holds no"),
        (_add("state/peers/telecom.card"), "a backup holds no"),
        (_add("state/link", tarfile.SYMTYPE, "/etc/passwd"), "a backup holds no"),
        (_add("state/link", tarfile.LNKTYPE, "state/keys.json"), "a backup holds no"),
        (_add("state/pipe", tarfile.FIFOTYPE), "a backup holds no"),
        (_add("state/./odd"), "a backup holds no"),
        (_add("state/peers/evil.card"), "evil.card is not as bank backed it up"),
        (_change("state/peers/telecom.card", b"another"), "telecom.card is not as bank backed it up"),
        (_change("party.toml", None), "party.toml is not as bank backed it up"),
        (_change(NOTE, None), "has no BACKUP.note and SHA256SUMS"),
        (_change(NOTE, b"bank\n\n\xff"), "has no BACKUP.note and SHA256SUMS"),
        (_change(SUMS, b""), "is not the one that bank signed"),
        (_change("state/keys.json", b"{}"), "is no key file"),
        (_resummed, "signed"),
    ],
)
def test_what_was_altered_is_refused(saved: Path, parties: Path, edit: Edit, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        restored(_alter(saved, edit), parties / "new/bank")
    assert not (parties / "new/bank").exists()
    assert not (parties / "outside").exists()


def test_keys_of_somebody_else_do_not_vouch(saved: Path, parties: Path) -> None:
    """A thief of backups has keys and a passphrase of his own, and would have his cards trusted."""
    other = (parties / "telecom/state/keys.json").read_bytes()
    with pytest.raises(UsageError, match=r"that its party signed|is not the one that"):
        restored(_alter(saved, _change("state/keys.json", other)), parties / "new")


@pytest.mark.parametrize("size", [0, 100, 512, 5000])
def test_a_backup_that_was_cut_off_is_refused(saved: Path, parties: Path, size: int) -> None:
    os.truncate(saved, size)
    with pytest.raises(UsageError):
        restored(saved, parties / "new")
    assert not (parties / "new").exists()
    with pytest.raises(UsageError, match="there is no"):
        restored(parties / "nothing", parties / "new")


def test_a_party_that_changes_meanwhile_is_copied_again(
    parties: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    party, honest, tries = read_party_file(parties / "bank"), backing._add, []
    passing = party.state / "runs/a.partial/passing"
    passing.parent.mkdir()
    passing.write_text("passing")

    def add(archive: tarfile.TarFile, name: str, path: Path, near: Path) -> str:
        if path.name == "passing" and not tries:
            tries.append(name)
            (party.state / "runs/a.partial").rename(party.state / "runs/a")
        return honest(archive, name, path, near)

    monkeypatch.setattr(backing, "_add", add)
    assert back_up(party, keys, parties / "out", party_kit.NOW).files > 3
    assert tries == ["state/runs/a.partial/passing"]
    with tarfile.open(parties / "out") as archive:
        assert "state/runs/a/passing" in archive.getnames()


def test_a_full_disk_leaves_nothing(parties: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device", "out")

    monkeypatch.setattr(backing, "_add", full)
    with pytest.raises(UsageError, match="No space left"):
        back_up(read_party_file(parties / "bank"), keys, parties / "out", party_kit.NOW)
    assert not list(parties.glob("out*"))


def test_a_state_elsewhere_is_for_its_operator_to_restore(parties: Path, keys: Keys) -> None:
    settings = parties / "bank/party.toml"
    settings.write_text(settings.read_text().replace('# state = "state"', f'state = "{parties}/elsewhere"'))
    shutil.move(parties / "bank/state", parties / "elsewhere")
    back_up(read_party_file(parties / "bank"), keys, parties / "out", party_kit.NOW)
    with pytest.raises(UsageError, match="has its state in"):
        restored(parties / "out", parties / "new")
    assert not (parties / "new").exists()

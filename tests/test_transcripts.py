"""Transcripts on disk: what is appended is there, half a record is cut off, damage is named."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec
import pytest

from vfl.channel import Record
from vfl.errors import UsageError
from vfl.transcripts import FileTranscript, read_transcript

RECORDS = [
    Record(True, "telecom", "psi/0/Declare/bank>telecom/0", bytes(32)),
    Record(False, "telecom", "psi/0/Declare/telecom>bank/0", b"\1" * 32, b"body" * 50, b"signature"),
    Record(True, "telecom", "psi/0/Points/bank>telecom/1", b"\2" * 32),
]


def written(path: Path) -> bytes:
    transcript = FileTranscript(path)
    assert list(transcript.records()) == []
    for record in RECORDS:
        transcript.append(record)
    transcript.close()
    return path.read_bytes()


def test_what_was_appended_is_read_again_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "transcript.bin"
    first = written(path)
    assert list(read_transcript(path)) == RECORDS
    again = FileTranscript(path)
    assert list(again.records()) == RECORDS
    again.append(RECORDS[0])
    again.close()
    assert path.read_bytes().startswith(first)
    assert list(read_transcript(path)) == [*RECORDS, RECORDS[0]]


def test_a_record_is_on_file_before_append_returns(tmp_path: Path) -> None:
    transcript = FileTranscript(tmp_path / "transcript.bin")
    transcript.append(RECORDS[1])
    assert list(read_transcript(tmp_path / "transcript.bin")) == RECORDS[1:2]
    transcript.close()


def test_an_incomplete_last_record_is_cut_off_wherever_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "transcript.bin"
    whole = written(path)
    last = len(msgspec.msgpack.encode(RECORDS[2])) + 12
    for missing in range(1, last):
        path.write_bytes(whole[:-missing])
        with pytest.raises(UsageError, match=f"record at byte {len(whole) - last} is incomplete"):
            list(read_transcript(path))
        repaired = FileTranscript(path)
        assert list(repaired.records()) == RECORDS[:2]
        repaired.append(RECORDS[2])
        repaired.close()
        assert path.read_bytes() == whole


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "transcript.bin"
    whole = written(path)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x41
        path.write_bytes(changed)
        with pytest.raises(UsageError, match=r"transcript\.bin: the record at byte"):
            list(read_transcript(path))


def test_damage_does_not_pass_for_a_torn_record(tmp_path: Path) -> None:
    """A damaged length may reach beyond the end of the file; what follows must not be cut off for that."""
    path = tmp_path / "transcript.bin"
    whole = written(path)
    for place in range(len(whole) - len(msgspec.msgpack.encode(RECORDS[2])) - 12):
        changed = bytearray(whole)
        changed[place] ^= 0x41
        path.write_bytes(changed)
        with pytest.raises(UsageError, match=r"transcript\.bin: the record at byte \d+ is damaged") as caught:
            FileTranscript(path)
        assert "backup" in caught.value.remedy
        assert path.read_bytes() == changed


def test_a_message_that_holds_records_does_not_pass_for_damage(tmp_path: Path) -> None:
    """Bytes that look like the start of a record are no record."""
    path = tmp_path / "transcript.bin"
    start = msgspec.msgpack.encode(RECORDS[0])[:6]
    transcript = FileTranscript(path)
    transcript.append(RECORDS[0])
    transcript.append(Record(False, "telecom", "psi/0/Points/telecom>bank/1", bytes(32), (bytes(12) + start) * 500))
    transcript.close()
    path.write_bytes(path.read_bytes()[:-1])
    repaired = FileTranscript(path)
    assert list(repaired.records()) == RECORDS[:1]
    repaired.close()


def test_well_framed_bytes_that_are_no_record_are_refused(tmp_path: Path) -> None:
    import zlib

    path = tmp_path / "transcript.bin"
    for head in (b"", b"\xc1", msgspec.msgpack.encode({"sent": True}), msgspec.msgpack.encode([1, 2])):
        lengths = len(head).to_bytes(4, "big") + bytes(4)
        path.write_bytes(lengths + zlib.crc32(lengths + head).to_bytes(4, "big") + head)
        with pytest.raises(UsageError, match="is no record"):
            FileTranscript(path)


def test_there_is_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "transcript.bin"
    first = FileTranscript(path)
    with pytest.raises(UsageError, match="another process") as caught:
        FileTranscript(path)
    assert "wait" in caught.value.remedy
    first.append(RECORDS[0])
    first.close()
    FileTranscript(path).close()


def test_a_missing_transcript_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no transcript"):
        list(read_transcript(tmp_path / "transcript.bin"))


def test_a_full_disk_leaves_a_transcript_that_can_go_on(tmp_path: Path) -> None:
    path = tmp_path / "transcript.bin"
    transcript = FileTranscript(path)
    transcript.append(RECORDS[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            transcript.append(RECORDS[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    transcript.close()
    again = FileTranscript(path)
    assert list(again.records()) == RECORDS[:1]
    again.close()

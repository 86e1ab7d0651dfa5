"""No single byte of a bundle of 10,000 entries can change unseen.

Trying them all with the whole verifier would take days (`test_ledger_verify` does so with a small bundle), so the claim
is taken apart into what a test can show whole: the archive's one form leaves no byte free but the contents of members,
a CRC-32 tells every change of one byte whatever the length, and any fault of the archive is a finding.
"""

import subprocess
import sys
import zlib

import pytest
from ledger_kit import World

from ledger import Code, verify_bundle, verify_bytes
from ledger.archive import pack, unpack
from ledger.bundle import SUMS, SUMS_NOTE, parse_bundle, sums, sums_text
from ledger.note import Note

MESSAGES = 2_500  # each way; an entry at either end, and one that opens each log
ENTRIES = 4 * MESSAGES + 2


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    world = World()
    for number in range(MESSAGES):
        world.say("bank", "telecom", f"gradients-{number}", b"g%d" % number, number // 500)
        world.say("telecom", "bank", f"histogram-{number}", b"h%d" % number, number // 500)
        if number % 500 == 499:
            world.end_round()
    world.end_round()
    return world, world.write(tmp_path_factory.mktemp("large") / "run.bundle")


def flipped(data, position):
    return data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :]


def test_a_check_sum_tells_every_change_of_one_byte():
    """CRC-32 is affine: a change of one byte shows if bytes have different sums and nothing is lost in later steps."""
    assert len({zlib.crc32(bytes([byte])) for byte in range(256)}) == 256
    images = [zlib.crc32(b"\0", 1 << bit) ^ zlib.crc32(b"\0") for bit in range(32)]
    rank = 0
    while images:
        pivot = images.pop()
        if pivot:
            rank += 1
            low = pivot & -pivot
            images = [image ^ pivot if image & low else image for image in images]
    assert rank == 32


@pytest.mark.slow
def test_ten_thousand_entries_are_valid_and_every_byte_is_covered(large):
    world, path = large
    data = path.read_bytes()
    bundle = parse_bundle(data)
    assert sum(files.entries.count(b"\n") for files in bundle.logs().values()) == ENTRIES
    assert verify_bundle(path, world.policy).code is Code.VALID
    # Beside the contents there is no freedom: the archive is a function of names and contents.
    assert pack(bundle.members) == data
    # Each content is digested, the digests are signed, and the signatures stand in a note of one form.
    assert bundle.members[SUMS] == sums(bundle.members)
    note = Note.parse(bundle.members[SUMS_NOTE])
    assert note.text == sums_text("run-7", bundle.members[SUMS])
    assert str(note).encode() == bundle.members[SUMS_NOTE]


@pytest.mark.slow
def test_bytes_all_over_a_large_archive_are_seen(large):
    world, path = large
    data = path.read_bytes()
    inside = len(data) - 4096
    for position in [*range(0, inside, inside // 100), *range(inside, len(data), 97)]:
        assert unpack(flipped(data, position)).faults, position
    # A fault of the archive is a finding, whatever else is in the bundle.
    for position in (10, len(data) // 2, len(data) - 5):
        assert verify_bytes(flipped(data, position), world.policy).code is Code.INVALID


WITHOUT_VFL = """
import importlib.abc, sys
class Refuses(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("vfl", "scenarios", "numpy"):
            raise ImportError(f"{name} must not be needed")
sys.meta_path.insert(0, Refuses())
try:
    import vfl
except ImportError:
    pass
else:
    sys.exit("the guard does not work")
from ledger.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_verifier_needs_nothing_of_vfl(world, tmp_path):
    bundle, policy, part = world.write(tmp_path / "a"), tmp_path / "policy.txt", tmp_path / "part"
    policy.write_text(str(world.policy))
    for words in (
        ["verify", bundle, "--policy", policy],
        ["select", bundle, "--party", "bank", "--out", part],
        ["verify", part, "--policy", policy],
        ["show", part, "--seq", "0"],
    ):
        command = [sys.executable, "-W", "error", "-c", WITHOUT_VFL, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

# pragma version ==0.4.3
# pragma evm-version london
"""
@title What the ledger signs, checked by a contract
@notice Builds the signed text of a checkpoint or an envelope from its fields and verifies the Ed25519 signature, so
    that a file of evidence needs nothing that was not signed during the run.
@dev Stateless; a contract of its own for its size. Sources: ledger/checkpoint.py, ledger/envelope.py, ledger/keys.py.
    Names of parties and runs are checked where they are registered.
"""

import ed25519
import words

MAX_SIZE: constant(uint256) = 10**19  # of a log: a checkpoint's number has less than 20 digits
MAX_BYTES: constant(uint256) = 2**53  # of a message


struct Envelope:
    slot: String[200]
    receiver: String[200]
    kind: String[200]
    digest: String[128]  # lowercase hexadecimal, 16 to 64 bytes
    size: uint256  # bytes of the message


@external
@view
def validKey(key: bytes32) -> bool:
    """
    @notice Whether signatures by this key can be checked at all: canonical, and no point of small order.
    """
    return ed25519.valid_key(key)


@external
@view
def verify(key: bytes32, message: Bytes[1472], r: bytes32, s: bytes32) -> bool:
    """
    @notice Whether the Ed25519 signature r || s by `key` fits any message of at most 1,472 bytes.
    """
    return ed25519.verify(key, message, r, s)


@external
@pure
def validName(name: String[63]) -> bool:
    """
    @notice Whether a party or a run may have this name.
    """
    return words.is_name(name)


@external
@pure
def hexadecimal(digest: bytes32) -> String[64]:
    """
    @notice A digest as envelopes write it.
    """
    return words.hexadecimal(digest)


@external
@view
def signedHead(
    key: bytes32, party: String[63], run: String[63], size: uint256, root: bytes32, r: bytes32, s: bytes32
) -> bool:
    """
    @notice Whether `key` signed the checkpoint of the log party/run with this size and root.
    """
    assert 0 < size and size < MAX_SIZE, "size: not that of a log with entries"
    text: String[252] = concat(party, "/", run, "\n", uint2str(size), "\n", words.base64(root), "\n")
    return ed25519.verify(key, convert(text, Bytes[252]), r, s)


@external
@view
def signedEnvelope(
    key: bytes32, party: String[63], run: String[63], envelope: Envelope, r: bytes32, s: bytes32
) -> bool:
    """
    @notice Whether `key` signed the envelope that `party` sent in `run`.
    """
    assert words.is_word(envelope.slot), "slot: not a word"
    assert words.is_word(envelope.receiver), "receiver: not a word"
    assert words.is_word(envelope.kind), "kind: not a word"
    assert words.is_digest(envelope.digest), "digest: not lowercase hexadecimal of 16 to 64 bytes"
    assert envelope.size < MAX_BYTES, "size: not that of a message"
    text: String[1024] = concat(
        'tallystick-envelope-v1\n{"bytes":', uint2str(envelope.size),
        ',"digest":"', envelope.digest,
        '","from":"', party,
        '","kind":"', envelope.kind,
        '","run":"', run,
        '","slot":"', envelope.slot,
        '","to":"', envelope.receiver,
        '"}',
    )
    return ed25519.verify(key, convert(text, Bytes[1024]), r, s)

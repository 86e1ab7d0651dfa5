"""What evidence must read of messages under encryption: the Paillier modulus, ciphertexts, bins and sets of rows."""

from __future__ import annotations

from ledger.errors import BadProof
from ledger.payloads import Value

KEY_BITS = (2048, 3072, 4096)
_MAGIC = b"TSPAIL01"


def modulus(message: dict[str, Value], bits: int | None = None) -> int:
    """n in a TrainingRows, whose key is magic 8, bits 2, n bits / 8, proofs; raises BadProof.

    The proofs are not checked again: a partner that accepted the key has.
    """
    key = message.get("key")
    if message.get("scheme") != "paillier" or not isinstance(key, bytes) or key[:8] != _MAGIC:
        raise BadProof("the key is none of Paillier's scheme")
    size = int.from_bytes(key[8:10], "big")
    n = int.from_bytes(key[10 : 10 + size // 8], "big")
    if size not in KEY_BITS or n.bit_length() != size or n % 2 == 0 or bits not in (None, size):
        raise BadProof("the key is no modulus of the size agreed on")
    return n


def numbers(data: Value, n: int) -> list[int] | None:
    """Whole ciphertexts of 2 bits / 8 bytes each, whatever they are; None where the bytes are not that."""
    width = n.bit_length() // 4
    if not isinstance(data, bytes) or not data or len(data) % width:
        return None
    return [int.from_bytes(data[start : start + width], "big") for start in range(0, len(data), width)]


def bins_of(message: dict[str, Value]) -> list[int]:
    """The bins of each feature in a FeatureBins; raises BadProof."""
    value = message.get("bins")
    found = [one for one in value if type(one) is int and one > 0] if isinstance(value, list) else []
    if not found or found != value:
        raise BadProof("the bins are not one number for each feature")
    return found


def bits_of(value: Value | None) -> list[bool]:
    """One bit a row, first row in the highest bit, with the padding; raises BadProof."""
    if not isinstance(value, bytes):
        raise BadProof("a set of rows is bytes")
    return [bool(byte >> (7 - bit) & 1) for byte in value for bit in range(8)]

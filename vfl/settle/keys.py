"""Chain keys: secp256k1, for a virtual machine checks no other signature at a price. Statements are EIP-712.

key of a party = its child "chain" of the seed, drawn until it is an exponent (1 <= key < n)

Who signs a statement binds it to one chain and one contract: the domain has both. What a party signs in its ledger is
another key's, Ed25519.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from vfl.randomness import Randomness
from vfl.settle.contract.typed import typed_data
from vfl.settle.limits import limits_kept

_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141  # SEC 2, section 2.4.1


class ChainKey:
    """A party's key on the chain."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: 32 bytes."""
        self._secret = secret

    @classmethod
    def of(cls, rng: Randomness) -> ChainKey:
        """Follows from a party's randomness."""
        own = rng.child("chain")
        return cls((1 + own.below(_ORDER - 1)).to_bytes(32, "big"))

    @cached_property
    def account(self) -> Any:
        """The `eth_account.signers.local.LocalAccount`."""
        return _accounts().from_key(self._secret)

    @property
    def address(self) -> str:
        """With the checksum of EIP-55."""
        return str(self.account.address)

    def sign(self, kind: str, message: Mapping[str, Any], chain_id: int, contract: str) -> bytes:
        """65 bytes: r, s (at most n/2), v (27 or 28). `kind`: of `vfl.settle.contract.typed.TYPES`."""
        return bytes(self.account.sign_message(_encoded(kind, message, chain_id, contract)).signature)


def signer_of(kind: str, message: Mapping[str, Any], chain_id: int, contract: str, signature: bytes) -> str:
    """The address that signed. Raises ValueError for 65 bytes that nobody signs."""
    try:
        return str(_accounts().recover_message(_encoded(kind, message, chain_id, contract), signature=signature))
    except Exception as error:  # the library names no kind of its own
        raise ValueError(f"not a signature: {error}") from None


def _encoded(kind: str, message: Mapping[str, Any], chain_id: int, contract: str) -> Any:
    _accounts()
    from eth_account.messages import encode_typed_data  # noqa: PLC0415

    return encode_typed_data(full_message=typed_data(kind, message, chain_id, contract))


def _accounts() -> Any:
    """`eth_account.Account`, of the extra `chain`."""
    with limits_kept():
        from eth_account import Account  # noqa: PLC0415

    return Account

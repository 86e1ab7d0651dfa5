"""What chain keys sign: EIP-712 messages of the consortium's contract, as wallets and eth-account take them.

    Statement(bytes32 job,string slot,bytes32 digest)      in the domain of one chain and one contract

The types are those whose hashes consortium.vy holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAME, VERSION = "Tallystick consortium", "1"
DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
KINDS = (
    "Register(address party,string name,bytes32 ledgerKey,bytes32 entity,uint256 version)",
    "OpenJob(bytes32 job,string run,address[] parties,bytes32[] runKeys,uint256 stake,address payer,"
    "uint256 quorum,uint256 deadline)",
    "Statement(bytes32 job,string slot,bytes32 digest)",
    "Head(bytes32 job,string origin,uint256 size,bytes32 root)",
    "Shares(bytes32 job,uint256 period,uint256[] ppm,bytes32 digest)",
    "Uphold(bytes32 job,uint256 period,uint256[] ppm,bytes32 digest)",
)


def _fields(declaration: str) -> tuple[str, list[dict[str, str]]]:
    kind, _, inside = declaration.removesuffix(")").partition("(")
    return kind, [dict(zip(("type", "name"), field.split(" "), strict=True)) for field in inside.split(",")]


TYPES: Mapping[str, list[dict[str, str]]] = dict(map(_fields, KINDS))


def typed_data(kind: str, message: Mapping[str, Any], chain_id: int, contract: str) -> dict[str, Any]:
    """The full EIP-712 message of a `kind` in `TYPES`; `contract` is the consortium's address."""
    return {
        "types": {"EIP712Domain": _fields(DOMAIN)[1], kind: TYPES[kind]},
        "primaryType": kind,
        "domain": {"name": NAME, "version": VERSION, "chainId": chain_id, "verifyingContract": contract},
        "message": dict(message),
    }

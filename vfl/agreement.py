"""The agreement: what all parties of a run must hold equal before anything else happens.

Its bytes are canonical JSON (keys sorted, no spaces, UTF-8); its digest stands in every ledger entry. Parties compare
agreements in the handshake; the first thing that differs is named clause by clause.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vfl.clauses import Contract
from vfl.errors import AgreementError
from vfl.settlement import Settlement

VERSION = 1
Json = Any  # what json.loads gives: the one place where a value has no narrower type
Scalar = bool | int | float | str


@dataclass(frozen=True)
class Member:
    """One party of the agreement: `role` is "active" or "passive"; `features` are the columns it may use, in order.

    reasons: what a customer reads where a feature of the party speaks against them; others have words of their names.
    monotone: features along which predictions may not fall (1) or not rise (-1).
    """

    name: str
    role: str
    features: tuple[str, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)
    monotone: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Agreement:
    """Who, what for, with which columns, parameters and allowed leakage.

    contract: what companies sign besides.   settlement: what is paid, and for what. An agreement without them has the
    bytes that it always had.
    """

    scenario: str
    purpose: str
    members: tuple[Member, ...]
    model: Mapping[str, Scalar]
    privacy: Mapping[str, Scalar]
    psi: Mapping[str, Scalar]
    holdout: Mapping[str, Scalar]
    contract: Contract | None = None
    settlement: Settlement | None = None

    def encode(self) -> bytes:
        """The canonical bytes that all parties must share."""
        members = [{key: value for key, value in asdict(member).items() if value != {}} for member in self.members]
        body = {"version": VERSION, **asdict(self), "members": members}
        for clause in ("contract", "settlement"):
            if body[clause] is None:
                del body[clause]
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    @classmethod
    def decode(cls, data: bytes) -> Agreement:
        """The agreement that `encode` wrote. Raises AgreementError for anything else."""
        try:
            body = json.loads(data)
            members = tuple(
                Member(
                    m["name"],
                    m["role"],
                    tuple(m["features"]),
                    dict(m.get("reasons", {})),
                    {feature: int(way) for feature, way in m.get("monotone", {}).items()},
                )
                for m in body.pop("members")
            )
            if body.pop("version") != VERSION:
                raise AgreementError(f"this program reads agreements of version {VERSION}")
            contract = Contract.from_json(body.pop("contract")) if "contract" in body else None
            settlement = Settlement.from_json(body.pop("settlement")) if "settlement" in body else None
            found = cls(members=members, contract=contract, settlement=settlement, **body)
            canonical = found.encode() == data
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise AgreementError(f"not the text of an agreement: {error!r}") from None
        if not canonical:
            raise AgreementError("the agreement is not in its canonical encoding")
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of `encode()`, hex."""
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def active(self) -> Member:
        return next(member for member in self.members if member.role == "active")

    @property
    def passives(self) -> tuple[Member, ...]:
        """The passive parties in the order in which their columns follow the active party's."""
        return tuple(member for member in self.members if member.role == "passive")

    def member(self, name: str) -> Member:
        """The member called `name`. Raises AgreementError if it is not a party."""
        for member in self.members:
            if member.name == name:
                return member
        raise AgreementError(f"{name} is not a party of this agreement: {', '.join(m.name for m in self.members)}")


def require_same(mine: bytes, theirs: bytes, peer: str) -> None:
    """Raise AgreementError naming each clause in which two encoded agreements differ, with both values."""
    if mine == theirs:
        return
    clauses = differences(json.loads(mine), _parsed(theirs, peer))
    listed = "; ".join(f"{path}: ours {ours}, theirs {other}" for path, ours, other in clauses[:5])
    raise AgreementError(
        f"the agreement of {peer} differs from ours in {listed or 'its encoding'}",
        remedy="agree on one text of these clauses and give it to every party, then start again",
    )


def _parsed(data: bytes, peer: str) -> Json:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise AgreementError(f"the agreement that {peer} sent is no JSON text") from None


def differences(mine: Json, theirs: Json, path: str = "") -> list[tuple[str, str, str]]:
    """The clauses in which two texts differ, with both values; `path` leads to them."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        keys = sorted({*mine, *theirs}, key=str)
        names = {key: f"{path}.{_short(key)[1:-1]}".lstrip(".") for key in keys}
        return [d for key in keys for d in differences(mine.get(key), theirs.get(key), names[key])]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{path}[{_label(a, i)}]")]
    return [] if mine == theirs else [(path, _short(mine), _short(theirs))]


def _label(item: Json, index: int) -> str:
    return str(item["name"]) if isinstance(item, dict) and "name" in item else str(index)


def _short(value: Json) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "deeply nested lists"
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= 60 else f"{text[:57]}..."

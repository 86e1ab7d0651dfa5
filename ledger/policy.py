"""Who must have signed what: the file that is the verifier's only source of keys (c2sp.org/tlog-policy).

    log bank+5a1c9e0f+AX...
    log telecom+77aa10b2+AR...
    witness bank bank/witness+0a1b2c3d+BG...
    witness telecom telecom/witness+4e5f6071+BH...
    group others all bank telecom
    quorum others

Our own rules on top of the syntax:

* the key name of a `log` line is a party's name; the key admits the origins `NAME/<run>` and signs that party's entry
  certificates and bundles;
* the key name of a party's witness is `NAME/witness`;
* a `log` line whose key name is `NAME/auditor` names no log, but somebody whose findings the reader takes: partners
  have log keys too, and must not find against each other;
* a party does not watch itself: when the quorum is evaluated for a log, its own party's witness is taken out of every
  group first. `all` then means all others, `any` any other; a number keeps its value;
* key names and public keys are unique in the file, and the file is UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ledger.errors import BadKey, BadPolicy
from ledger.keys import Identity, KeyType, PublicIdentity, VerifyingKey, auditor_name, check_party, witness_name

MAX_POLICY_BYTES = 1_000_000
NO_QUORUM = "none"


@dataclass(frozen=True, slots=True)
class Group:
    """`need` is `all`, `any` or a decimal number; `members` are names of witnesses or earlier groups."""

    name: str
    need: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy; `witnesses` maps the file's own names to keys, `quorum` is one of those names, or `none`.

    `auditors`: keys named `NAME/auditor`, which sign findings and keep no log. `addresses`: where witnesses are asked.
    """

    logs: tuple[VerifyingKey, ...]
    witnesses: Mapping[str, VerifyingKey]
    groups: Mapping[str, Group]
    quorum: str
    auditors: tuple[VerifyingKey, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: str | bytes) -> Policy:
        """Read a policy file; raises BadPolicy naming the line."""
        return _Parser(_text(data)).policy()

    @classmethod
    def of(
        cls,
        identities: Iterable[Identity | PublicIdentity],
        witnesses: Iterable[Identity | PublicIdentity] = (),
        quorum: str = "all",
        auditors: Iterable[VerifyingKey] = (),
    ) -> Policy:
        """The usual policy: a log and a witness per party, further witnesses (a regulator), and a quorum of them.

        `quorum` is `all` (others), `any`, a number, or `none`. `auditors`: keys named `NAME/auditor`.
        """
        parties, more = list(map(_public, identities)), list(map(_public, witnesses))
        lines = [f"log {key.vkey}" for key in (*(party.identity for party in parties), *auditors)]
        lines += [f"witness {party.name} {party.witness.vkey}" for party in [*parties, *more]]
        if quorum != NO_QUORUM:
            lines.append(f"group quorum-of-witnesses {quorum} {' '.join(p.name for p in [*parties, *more])}")
        lines.append(f"quorum {NO_QUORUM if quorum == NO_QUORUM else 'quorum-of-witnesses'}")
        return cls.parse("\n".join(lines) + "\n")

    def __str__(self) -> str:
        lines = [f"log {key.vkey}" for key in (*self.logs, *self.auditors)]
        at = self.addresses
        lines += [f"witness {name} {key.vkey} {at.get(name, '')}".rstrip() for name, key in self.witnesses.items()]
        lines += [f"group {group.name} {group.need} {' '.join(group.members)}" for group in self.groups.values()]
        return "\n".join([*lines, f"quorum {self.quorum}"]) + "\n"

    def also(self, name: str, key: VerifyingKey, address: str) -> Policy:
        """The policy that asks for the cosignature of one more witness, besides what it asked for before.

        Raises BadPolicy where name or key are taken, or the words do not fit into a policy.
        """
        both = f"{self.quorum}-and-{name}"
        members = (name,) if self.quorum == NO_QUORUM else (self.quorum, name)
        more = replace(
            self,
            witnesses={**self.witnesses, name: key},
            addresses={**self.addresses, name: address},
            groups={**self.groups, both: Group(both, "all", members)},
            quorum=both,
        )
        return Policy.parse(str(more))

    @property
    def parties(self) -> tuple[str, ...]:
        """The parties whose logs may be checked, in file order."""
        return tuple(key.name for key in self.logs)

    def log_key(self, party: str) -> VerifyingKey | None:
        """The identity key of a party."""
        return next((key for key in self.logs if key.name == party), None)

    def witness_of(self, party: str) -> VerifyingKey | None:
        """The key with which a party cosigns others' logs (`party/witness`)."""
        return next((key for key in self.witnesses.values() if key.name == witness_name(party)), None)

    def quorum_met(self, cosigners: Iterable[VerifyingKey], party: str) -> bool:
        """Whether these cosigners of a head of `party`'s log make the quorum, that party's own witness left out."""
        if self.quorum == NO_QUORUM:
            return True
        keys = set(cosigners)
        own = witness_name(party)
        signed: dict[str, bool | None] = {
            name: None if key.name == own else key in keys for name, key in self.witnesses.items()
        }
        for group in self.groups.values():
            states = [state for member in group.members if (state := signed[member]) is not None]
            need = len(states) if group.need == "all" else 1 if group.need == "any" else int(group.need)
            signed[group.name] = sum(states) >= need if states else None
        return bool(signed[self.quorum])


class _Parser:
    def __init__(self, text: str) -> None:
        self._logs: list[VerifyingKey] = []
        self._auditors: list[VerifyingKey] = []
        self._witnesses: dict[str, VerifyingKey] = {}
        self._addresses: dict[str, str] = {}
        self._groups: dict[str, Group] = {}
        self._members: set[str] = set()
        self._quorum: str | None = None
        for number, line in enumerate(text.split("\n"), 1):
            words = line.replace("\t", " ").split(" ")
            words = [word for word in words if word]
            if words and not words[0].startswith("#"):
                try:
                    self._line(words)
                except (BadKey, BadPolicy) as error:
                    raise BadPolicy(f"policy line {number}: {error}") from None

    def policy(self) -> Policy:
        if self._quorum is None:
            raise BadPolicy("the policy has no quorum line", remedy="Add `quorum <group>` or `quorum none`.")
        auditors = tuple(self._auditors)
        return Policy(tuple(self._logs), self._witnesses, self._groups, self._quorum, auditors, self._addresses)

    def _line(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._log(VerifyingKey.parse(vkey))
            case ["witness", name, vkey, *address] if len(address) < 2:
                self._witness(name, VerifyingKey.parse(vkey))
                self._addresses |= dict(zip([name], address, strict=False))
            case ["group", name, need, *members]:
                self._group(name, need, members)
            case ["quorum", name]:
                self._set_quorum(name)
            case _:
                raise BadPolicy(f"`{' '.join(words):.100}` is no log, witness, group or quorum line")

    def _log(self, key: VerifyingKey) -> None:
        if key.kind is not KeyType.NOTE:
            raise BadPolicy(f"the log key {key.name} is not of type 0x01")
        party = key.name.removesuffix(auditor_name(""))
        check_party(party)
        self._unused(key)
        (self._logs if key.name == party else self._auditors).append(key)

    def _witness(self, name: str, key: VerifyingKey) -> None:
        if key.kind is not KeyType.COSIGNATURE:
            raise BadPolicy(f"the witness key {key.name} is not of type 0x04")
        self._unused(key)
        self._witnesses[self._free(name)] = key

    def _group(self, name: str, need: str, members: list[str]) -> None:
        number = need in map(str, range(1, len(members) + 1))
        if not members or not (need in ("all", "any") or number):
            raise BadPolicy(f"group {name} needs `all`, `any` or a number from 1 to its {len(members)} members")
        for member in members:
            if member not in self._witnesses and member not in self._groups:
                raise BadPolicy(f"group {name} lists {member}, which no earlier line defines")
            if member in self._members:
                raise BadPolicy(f"{member} is a member already; a name counts once")
            self._members.add(member)
        self._groups[self._free(name)] = Group(name, need, tuple(members))

    def _set_quorum(self, name: str) -> None:
        if self._quorum is not None:
            raise BadPolicy("there is a second quorum line")
        if name != NO_QUORUM and name not in self._witnesses and name not in self._groups:
            raise BadPolicy(f"quorum {name} is not defined by an earlier line")
        self._quorum = name

    def _free(self, name: str) -> str:
        if name == NO_QUORUM or name in self._witnesses or name in self._groups:
            raise BadPolicy(f"the name {name} is taken")
        return name

    def _unused(self, key: VerifyingKey) -> None:
        for other in (*self._logs, *self._auditors, *self._witnesses.values()):
            if other.public == key.public or other.name == key.name:
                raise BadPolicy(f"the key {key.name} repeats the key or the name of {other.name}")


def _public(who: Identity | PublicIdentity) -> PublicIdentity:
    return who.public if isinstance(who, Identity) else who


def _text(data: str | bytes) -> str:
    if len(data) > MAX_POLICY_BYTES:
        raise BadPolicy(f"the policy has {len(data)} bytes, the limit is {MAX_POLICY_BYTES}")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadPolicy("the policy is not UTF-8") from None
    bad = next((c for c in text if (c < " " and c not in "\n\t") or c == "\x7f"), None)
    if bad is not None:
        raise BadPolicy(f"the policy holds the control character {bad!a}")
    return text

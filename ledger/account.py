"""The account of a conversation: what one party said to a peer and heard from it, as two running digests.

    {"heard":12,"heard_digest":"5c..","peer":"telecom","said":31,"said_digest":"e0.."}      params of an `account` entry

    digest_0 = 32 zero bytes          digest_n = SHA-256(digest_(n-1) || Envelope.message() of the nth message)

At every checkpoint each party enters its account into its log, so that its signed head covers it, and shows the entry
with an inclusion proof. The peer cosigns the head only where the account is its own the other way round. After that
neither can deny a message, or tell another one, for the cost of a hash a message; the envelope's own signature is
needed for messages since the last checkpoint alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from ledger.canonical import Json
from ledger.entry import Entry
from ledger.envelope import Envelope
from ledger.errors import BadEntry

STEP = "account"
_START = bytes(32)
_FIELDS = {"peer", "said", "said_digest", "heard", "heard_digest"}


@dataclass(frozen=True, slots=True)
class Account:
    """Numbers of messages and digests (32 bytes) of both directions of the conversation with `peer`."""

    peer: str
    said: int = 0
    said_digest: bytes = _START
    heard: int = 0
    heard_digest: bytes = _START

    def with_messages(self, messages: Iterable[Envelope]) -> Account:
        """The account with further messages, from the peer or to it, in order."""
        counts, digests = [self.said, self.heard], [self.said_digest, self.heard_digest]
        for message in messages:
            way = message.sender == self.peer
            counts[way] += 1
            digests[way] = sha256(digests[way] + message.message()).digest()
        return Account(self.peer, counts[0], digests[0], counts[1], digests[1])

    def as_told_by_peer(self, party: str) -> Account:
        """The same conversation as the peer must tell it of `party`: both directions exchanged."""
        return Account(party, self.heard, self.heard_digest, self.said, self.said_digest)

    def to_json(self) -> dict[str, Json]:
        """The object that an account entry has as `params`."""
        return {
            "peer": self.peer,
            "said": self.said,
            "said_digest": self.said_digest.hex(),
            "heard": self.heard,
            "heard_digest": self.heard_digest.hex(),
        }

    def __str__(self) -> str:
        return (
            f"{self.said} said ({self.said_digest.hex():.16}..), {self.heard} heard ({self.heard_digest.hex():.16}..)"
        )


def account_of(entry: Entry) -> Account | None:
    """The account that an entry holds; None for every other entry. Raises BadEntry for a malformed one."""
    return account_in(entry.params) if entry.step == STEP and entry.dir == "local" else None


def account_in(params: Mapping[str, object]) -> Account:
    """The account in the `params` of an entry; raises BadEntry."""
    match params:
        case {"peer": str(peer), "said": int(said), "said_digest": str(a), "heard": int(heard), "heard_digest": str(b)}:
            with suppress(ValueError):
                found = Account(peer, said, bytes.fromhex(a), heard, bytes.fromhex(b))
                counts = all(type(count) is int and count >= 0 for count in (said, heard))
                if counts and found.to_json() == dict(params):
                    return found
    raise BadEntry(f"an account has the fields {', '.join(sorted(_FIELDS))}, all in their one form: {params!r:.200}")

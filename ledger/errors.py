"""Everything the ledger raises, named by what is wrong.

    LedgerError
      NotCanonical    bytes or a value that are no canonical JSON
      BadEntry        an entry with a missing, unknown or impossible field
      BadKey          a key string, seed or name of the wrong form
      BadNote         text that is no signed note or no checkpoint
      BadSignature    a signature that does not fit key and message
      BadProof        an inclusion or consistency proof that proves nothing
      BrokenChain     entries that do not follow each other
      NotConsistent   two signed heads of one log that contradict each other (carries both)
      SlotTaken       a second, different statement for a protocol position
      BadClock        this machine's clock shows a time that no entry may have
      BadPolicy       a policy file outside the syntax or our rules
      BadBundle       an archive that may not be read or written
      StoreError      the database cannot do what was asked
        StoreDamaged    what is stored is not what was stored
      WitnessError    a witness cannot be asked, or answered what is no answer
        WitnessRefused  a witness gave no cosignature (carries its status and the size it holds)
      StampError      a time stamp cannot be had, or not be checked here
        BadStamp        a time stamp that proves nothing

`str(error)` says what happened, where, and with which value; `error.remedy` says what to do next.
"""

from __future__ import annotations


class LedgerError(Exception):
    """Base of all errors of this package; never raised itself."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy

    def diagnostics(self) -> str:
        """What happened and what to do next, as sentences for a person."""
        return f"{self}\n{self.remedy}" if self.remedy else str(self)


class NotCanonical(LedgerError):
    """The value or the bytes are outside the canonical JSON subset."""


class BadEntry(LedgerError):
    """An entry field is missing, unknown, of the wrong type or contradicts another."""


class BadKey(LedgerError):
    """A seed, key string or key name has the wrong form."""


class BadNote(LedgerError):
    """The text is not a signed note, or the note is not a checkpoint."""


class BadSignature(LedgerError):
    """A signature does not fit its key and message, or none by a known key is there."""


class BadProof(LedgerError):
    """A Merkle proof does not lead to the root it claims."""


class BrokenChain(LedgerError):
    """An entry does not follow the one before it."""


class NotConsistent(LedgerError):
    """Two heads signed by one log contradict each other; `first` and `second` are the signed notes."""

    def __init__(self, message: str, *, first: str, second: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.first = first
        self.second = second


class SlotTaken(LedgerError):
    """The log already holds another statement for this protocol position and will not sign a second one."""


class BadClock(LedgerError):
    """The clock is outside the validity of the run's certificate: no verifier would take an entry of that time."""


class BadPolicy(LedgerError):
    """The policy file breaks the tlog-policy syntax or one of our rules."""


class BadBundle(LedgerError):
    """The archive is unreadable, oversized or names a forbidden path."""


class StoreError(LedgerError):
    """The store could not read or write; nothing of the failed batch was kept."""


class StoreDamaged(StoreError):
    """The store holds bytes that do not fit their digests; nothing may be added to it."""


class WitnessError(LedgerError):
    """A witness could not be reached, or its answer is outside c2sp.org/tlog-witness."""


class WitnessRefused(WitnessError):
    """A witness answered with another HTTP `status` than 200; `size` is the one it holds, for 409 alone."""

    def __init__(self, message: str, *, status: int, size: int | None = None, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.size = size


class StampError(LedgerError):
    """An authority gave no time stamp, or what is needed to check one is missing."""


class BadStamp(StampError):
    """A time stamp is by nobody who is trusted, over something else, or no time stamp at all."""

"""An append-only, signed and cross-witnessed record of what parties said to each other, and its offline verifier.

    Identity -> Log (entries, checkpoints) <- Witness (cosignatures)         write_bundle -> verify_bundle(path, policy)

Needs the standard library and `cryptography` only, and knows nothing about learning. Formats: docs/spec/ledger.md.
"""

from ledger.account import Account, account_of
from ledger.bundle import Bundle, read_bundle, write_bundle
from ledger.checkpoint import Checkpoint, SignedCheckpoint, cosigners, open_checkpoint, verify_cosignature
from ledger.clock import Clock
from ledger.entry import Direction, Entry, Payload, slot_name
from ledger.envelope import Env, Envelope, sign_envelope, verify_envelope
from ledger.errors import (
    BadBundle,
    BadEntry,
    BadKey,
    BadNote,
    BadPolicy,
    BadProof,
    BadSignature,
    BrokenChain,
    LedgerError,
    NotCanonical,
    NotConsistent,
    SlotTaken,
    StoreDamaged,
    StoreError,
)
from ledger.evidence import fork_evidence, slot_evidence
from ledger.findings import Code, Finding, Result
from ledger.keys import (
    Certificate,
    Identity,
    KeyType,
    PublicIdentity,
    Signer,
    SigningKey,
    VerifyingKey,
    issue_certificate,
)
from ledger.log import Log
from ledger.merkle import Tree, leaf_hash, verify_consistency, verify_inclusion
from ledger.note import Note
from ledger.policy import Policy
from ledger.selection import Choice, select_bundle
from ledger.store import MemoryStore, PeerAdvance, SQLiteStore, Store
from ledger.verify import verify_bundle, verify_bytes
from ledger.witness import Witness

__all__ = [
    "Account",
    "BadBundle",
    "BadEntry",
    "BadKey",
    "BadNote",
    "BadPolicy",
    "BadProof",
    "BadSignature",
    "BrokenChain",
    "Bundle",
    "Certificate",
    "Checkpoint",
    "Choice",
    "Clock",
    "Code",
    "Direction",
    "Entry",
    "Env",
    "Envelope",
    "Finding",
    "Identity",
    "KeyType",
    "LedgerError",
    "Log",
    "MemoryStore",
    "NotCanonical",
    "NotConsistent",
    "Note",
    "Payload",
    "PeerAdvance",
    "Policy",
    "PublicIdentity",
    "Result",
    "SQLiteStore",
    "SignedCheckpoint",
    "Signer",
    "SigningKey",
    "SlotTaken",
    "Store",
    "StoreDamaged",
    "StoreError",
    "Tree",
    "VerifyingKey",
    "Witness",
    "account_of",
    "cosigners",
    "fork_evidence",
    "issue_certificate",
    "leaf_hash",
    "open_checkpoint",
    "read_bundle",
    "select_bundle",
    "sign_envelope",
    "slot_evidence",
    "slot_name",
    "verify_bundle",
    "verify_bytes",
    "verify_consistency",
    "verify_cosignature",
    "verify_envelope",
    "verify_inclusion",
    "write_bundle",
]

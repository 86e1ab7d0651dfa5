"""Places in the bundles that the verifier is tested with."""

from datetime import timedelta

from ledger_kit import RUN, START

from ledger import issue_certificate, slot_name

ENTRIES = "logs/bank/entries.jsonl"
SLOT = slot_name("train", 1, "gradients", "bank", "telecom")


def lines(members, name=ENTRIES):
    return members[name].split(b"\n")[:-1]


def certificate_of(who, run=RUN, first=START, days=1, signer=None):
    return issue_certificate(signer or who.identity, run, who.entry_key(RUN).public, first, first + timedelta(days))

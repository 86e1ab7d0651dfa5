"""What `tallystick agreement` does."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import typer

from ledger.keys import PublicIdentity
from vfl.agreement import Agreement, differences
from vfl.agreements.downgrades import downgrades
from vfl.agreements.drafting import Wishes, draft
from vfl.agreements.signed import SignedAgreement
from vfl.agreements.telling import described, summary
from vfl.clauses import BUDGETS, RULES
from vfl.clock import SystemClock
from vfl.config import Scenario
from vfl.errors import AgreementError, UsageError
from vfl.loading import loader
from vfl.party import keystore
from vfl.party.approvals import Deed, approved
from vfl.party.card import Card
from vfl.party.config import PartyFile, read_party_file
from vfl.party.keystore import unlock
from vfl.party.passphrase import passphrase
from vfl.party.state import AGREEMENTS, card_of, trusted


@dataclass(frozen=True)
class Source:
    """Where columns and parameters come from: a scenario by name or file, some of its parties, its kind of model."""

    scenario: str
    parties: str | None
    model: str | None

    def load(self, folder: Path) -> Scenario:
        kept = [name.strip() for name in self.parties.split(",")] if self.parties is not None else None
        _, load = loader(self.scenario, kept, self.model)
        return load(folder)


def make_draft(
    source: Source,
    cards: Sequence[Path],
    own: Path | None,
    purpose: str,
    legal_basis: str,
    expires: str,
    allow: Sequence[str],
    budgets: Sequence[str],
    revenue: str,
    out: Path,
    as_json: bool,
) -> None:
    """`tallystick agreement draft`."""
    if out.exists():
        raise UsageError(f"{out} exists already", remedy="name another --out, or remove it")
    known: dict[str, PublicIdentity] = {}
    for card in [*([card_of(read_party_file(own))] if own else []), *map(Card.read, cards)]:
        if known.setdefault(card.name, card.public) != card.public:
            raise UsageError(f"there are two cards of {card.name}, with different keys")
    wishes = Wishes(purpose, legal_basis, expires, allow, _budgets(budgets), _revenue(revenue))
    with tempfile.TemporaryDirectory() as folder:
        signed = draft(source.load(Path(folder)), known, wishes, SystemClock().now())
    signed.write(out)
    digest = signed.agreement.digest
    lines = [
        f"{out}: digest {digest}, not signed by anybody yet",
        f"each party: tallystick agreement sign {out} --party DIR, then passes the file on",
    ]
    _tell({"file": str(out), "digest": digest, "parties": list(signed.parties)}, lines, as_json)


def sign(path: Path, folder: Path, yes: bool, less_privacy: bool, file: Path | None, as_json: bool) -> None:
    """`tallystick agreement sign`."""
    party = read_party_file(folder)
    own, now = card_of(party), SystemClock().now()
    signed = SignedAgreement.read(path)
    text = summary(signed)
    signed.require_acceptable(now)
    _require_known(party, own, signed)
    _require_own_columns(party, signed.agreement)
    weaker = downgrades(signed.agreement, _before(party, signed.agreement))
    if not as_json:
        sys.stdout.write("\n".join([*text, *(f"LESS PRIVACY: {each}" for each in weaker)]) + "\n")
    _ask(path, yes, weaker, less_privacy)
    rule = approved(party.state, Deed("agreement", signed.agreement.digest), now) if weaker else nullcontext()
    with rule:
        keystore.read(party.state)
        signer = unlock(party.state, passphrase(file)).identity.identity
        done = signed.sign(signer)
        done.write(party.state / AGREEMENTS / f"{done.agreement.digest}.json")
        done.write(path)
    _tell_signed(f"{party.name} has signed {path}", done, path, as_json)


def merge(first: Path, second: Path, out: Path | None, as_json: bool) -> None:
    """`tallystick agreement merge`."""
    if out is not None and out.exists():
        raise UsageError(f"{out} exists already", remedy="name another --out, or remove it")
    done = SignedAgreement.read(first).merged(SignedAgreement.read(second), str(second))
    path = out or first
    done.write(path)
    _tell_signed(f"{path} is signed by {', '.join(done.signed_by()) or 'nobody'}", done, path, as_json)


def _tell_signed(what: str, signed: SignedAgreement, path: Path, as_json: bool) -> None:
    missing = [name for name in signed.parties if name not in signed.signed_by()]
    lines = [f"{what}; {'all have signed' if not missing else 'missing: ' + ', '.join(missing)}"]
    _tell({"file": str(path), "digest": signed.agreement.digest, "missing": missing}, lines, as_json)


def show(path: Path, as_json: bool) -> None:
    """`tallystick agreement show`."""
    signed = SignedAgreement.read(path)
    lines = summary(signed)
    body = described(signed, SystemClock().now().astimezone(UTC).date())
    _tell({**body, "agreement": json.loads(signed.agreement.encode())}, lines, as_json)


def diff(first: Path, second: Path, as_json: bool) -> None:
    """`tallystick agreement diff`."""
    a, b = (json.loads(SignedAgreement.read(path).agreement.encode()) for path in (first, second))
    found = [{"clause": clause, "first": one, "second": other} for clause, one, other in differences(a, b)]
    lines = [f"{each['clause']}: {each['first']} -> {each['second']}" for each in found]
    _tell({"differences": found}, lines or ["the same clauses"], as_json)


def check(path: Path, folder: Path | None, as_json: bool) -> None:
    """`tallystick agreement check`."""
    signed, now = SignedAgreement.read(path), SystemClock().now()
    signed.verify(now)
    if folder is not None:
        party = read_party_file(folder)
        _require_known(party, card_of(party), signed)
        _require_own_columns(party, signed.agreement)
    digest, until = signed.agreement.digest, signed.contract.expires
    lines = [f"{path}: signed by {', '.join(signed.parties)}, in force until {until}; digest {digest}"]
    _tell({**described(signed, now.astimezone(UTC).date()), "until": until}, lines, as_json)


def _require_known(party: PartyFile, own: Card, signed: SignedAgreement) -> None:
    """The keys in the agreement are those of cards that this party trusts."""
    known: Mapping[str, PublicIdentity] = {
        own.name: own.public,
        **{name: card.public for name, card in trusted(party.state).items()},
    }
    if own.name not in signed.parties:
        raise AgreementError(f"{own.name} is not a party of this agreement: {', '.join(signed.parties)}")
    for name, keys in signed.parties.items():
        if name not in known:
            raise AgreementError(
                f"contract.parties names {name}, whose card is not trusted here",
                remedy="compare its fingerprint: tallystick party trust CARD",
            )
        if keys != known[name]:
            raise AgreementError(
                f"contract.parties.{name} has another key than the card that is trusted here",
                remedy="ask whoever drafted it where its card came from",
            )


def _require_own_columns(party: PartyFile, agreement: Agreement) -> None:
    """What is asked of this party's table is what party.toml offers."""
    mine = [member for member in agreement.members if member.name == party.name]
    if not mine:
        return
    if party.table is None:
        raise AgreementError(
            f"members[{party.name}] is to bring columns, and party.toml has no [data]",
            remedy="describe the table there",
        )
    offered = party.table.features
    if offered is not None and (extra := [name for name in mine[0].features if name not in offered]):
        raise AgreementError(
            f"members[{party.name}].features has {', '.join(extra)[:200]}, which [data] features does not offer",
            remedy="have it drafted without, or add it to [data] features in party.toml",
        )


def _before(party: PartyFile, agreement: Agreement) -> Agreement | None:
    """The agreement of this name that the party signed last, other than this one."""
    found = [
        (path.stat().st_mtime_ns, signed.agreement)
        for path in (party.state / AGREEMENTS).glob("*.json")
        if (signed := SignedAgreement.read(path)).agreement.scenario == agreement.scenario
        and signed.agreement.digest != agreement.digest
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def _ask(path: Path, yes: bool, weaker: Sequence[str], less_privacy: bool) -> None:
    """Have a person read it; a program must say --yes, and say as well that it accepts less privacy."""
    if weaker and yes and not less_privacy:
        raise AgreementError(
            f"{path} protects less than before: {'; '.join(weaker)[:400]}",
            remedy="if that is meant, say --less-privacy besides --yes",
        )
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"this would sign {path}", remedy="Say --yes to sign it without being asked.")
    if not typer.confirm("Sign it, with less privacy than before?" if weaker else "Sign it?", err=True):
        raise UsageError("nothing was signed")


def _budgets(words: Sequence[str]) -> dict[str, int]:
    found = {}
    for word in words:
        name, _, count = word.partition("=")
        if name not in BUDGETS or not count.isascii() or not count.isdigit() or name in found:
            raise UsageError(f"--budget is {word!r:.60}", remedy=f"write {BUDGETS[0]}=3; counted: {', '.join(BUDGETS)}")
        found[name] = int(count[:15])
    return found


def _revenue(text: str) -> dict[str, int | str]:
    """One of RULES, or shares in percent by party: bank=60,telecom=40."""
    if text in RULES and text != "shares":
        return {"rule": text}
    found: dict[str, int | str] = {"rule": "shares"}
    try:
        for word in text.split(","):
            name, percent = word.split("=")
            whole = round(100 * float(percent))
            if abs(whole - 100 * float(percent)) > 1e-6 or name in found:
                raise ValueError
            found[name] = whole
    except (ValueError, OverflowError):
        raise UsageError(
            f"--revenue is {text!r:.60}",
            remedy=f"write {', '.join(rule for rule in RULES if rule != 'shares')}, or percents: bank=60,telecom=40",
        ) from None
    return found


def _tell(body: dict[str, Any], lines: Sequence[str], as_json: bool) -> None:
    sys.stdout.write(json.dumps(body) + "\n" if as_json else "\n".join(lines) + "\n")

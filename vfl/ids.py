"""Identifier hygiene: named, versioned rules that turn raw identifiers into tokens, before any of them is matched.

    rule          token                                                                          for
    exact@1       the identifier as it stands                                                    clean technical keys
    text@1        NFKC, case-folded, invisible characters removed, spaces stripped and collapsed  customer numbers
    phone@1       E.164 digits ("+34200000001"); needs + or 00 and a country code                 phone numbers
    phone-es@1    the same, and numbers without + or 00 are Spanish (likewise the other plans)    phone numbers

All parties must use the same rule of the same version, so a rule never changes: a better one gets the next version.
An identifier that is blank, null-like, too long or invalid has no token: it is counted, excluded and never matched.
The parts of an identifier made of several columns are normalised one by one; one blank part makes it blank.

Nothing here ever puts an identifier into an error or a report, only counts and row numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfl.engine import HERE, Engine, mapped, parts
from vfl.errors import UsageError
from vfl.table import JOINT, closest, shown
from vfl.texts import Texts, first_places

MAX_LENGTH = 256  # characters of a token, and of each raw part times four
NULL_LIKE = frozenset({"null", "nan", "none", "n/a", "na", "-", "0", "?", "<na>", "#n/a"})
REASONS = ("blank", "null-like", "too-long", "invalid")
DUPLICATE_POLICIES = ("error", "first")
_FIRST_ROWS = 5


@dataclass(frozen=True)
class Plan:
    """A national numbering plan: calling code, trunk prefix dialled inside the country, digits of a number."""

    code: str
    trunk: str
    shortest: int
    longest: int


PLANS = {
    "cn": Plan("86", "", 11, 11),
    "es": Plan("34", "", 9, 9),
    "fr": Plan("33", "0", 9, 9),
    "gb": Plan("44", "0", 9, 10),
    "hk": Plan("852", "", 8, 8),
    "in": Plan("91", "0", 10, 10),
    "jp": Plan("81", "0", 9, 10),
    "pt": Plan("351", "", 9, 9),
    "sg": Plan("65", "", 8, 8),
    "tw": Plan("886", "0", 8, 9),
    "us": Plan("1", "1", 10, 10),
}


@dataclass(frozen=True)
class Normalised:
    """`tokens[i]` belongs to raw identifier i and is None where it has none; `counts` says why, by `REASONS`."""

    tokens: list[str | None]
    counts: dict[str, int]


@dataclass(frozen=True)
class IdReport:
    """What became of a table's identifiers; numbers only, fit for a ledger entry."""

    rule: str
    rows: int
    usable: int
    blank: int
    null_like: int
    too_long: int
    invalid: int
    duplicates: int

    @property
    def excluded(self) -> int:
        """Rows without a token."""
        return self.blank + self.null_like + self.too_long + self.invalid


@dataclass(frozen=True, eq=False)
class Usable:
    """Distinct tokens in table order; `rows[i]` (int64) is the table row, from 0, that token i stands for."""

    tokens: Texts
    rows: npt.NDArray[np.int64]
    report: IdReport


class _NoToken(Exception):
    """The identifier has no token, for the reason given."""


def rule_names() -> list[str]:
    """Every rule this version knows."""
    return sorted(_RULES)


def check_rule(rule: str) -> str:
    """The rule's name; raises UsageError with the closest known name when there is no such rule."""
    if rule not in _RULES:
        raise UsageError(f"unknown identifier rule {shown(rule)}", remedy=closest(rule, _RULES))
    return rule


def normalise(raw: Sequence[str], rule: str) -> Normalised:
    """Tokens of the raw identifiers under the named rule; idempotent on its own tokens."""
    normal_form = _RULES[check_rule(rule)]
    counts: Counter[str] = Counter()
    tokens: list[str | None] = []
    for identifier in raw:
        try:
            tokens.append(normal_form(identifier))
        except _NoToken as reason:
            tokens.append(None)
            counts[str(reason)] += 1
    return Normalised(tokens, {reason: counts[reason] for reason in REASONS})


def usable(
    raw: Sequence[str],
    rule: str,
    duplicates: str = "error",
    max_invalid_share: float = 0.05,
    where: str = "table",
    engine: Engine = HERE,
) -> Usable:
    """The distinct tokens of a table and the rows they stand for; `where` names file and column in errors.

    Raises UsageError, naming data rows from 1, when more than `max_invalid_share` of the identifiers have no token,
    when none has, and when tokens repeat while `duplicates` is "error"; "first" keeps the first row of each token.
    """
    if duplicates not in DUPLICATE_POLICIES:
        remedy = closest(duplicates, DUPLICATE_POLICIES)
        raise UsageError(f"unknown duplicates policy {shown(duplicates)}", remedy=remedy)
    texts, counts = Texts.of(raw), Counter(dict.fromkeys(REASONS, 0))
    normal, without = [], []
    places = list(parts(len(texts), engine.partition_rows))
    work = mapped(engine, _normal_part, ((texts[part], check_rule(rule)) for part in places))
    for part, (tokens, excluded, reasons) in zip(places, work, strict=True):
        normal.append(tokens)
        without.append(excluded + part.start)
        counts.update(reasons)
    lost = np.concatenate([np.empty(0, np.int64), *without])
    _check_share(len(texts), lost, counts, rule, max_invalid_share, where)
    return _distinct(Texts.joined(normal), np.delete(np.arange(len(texts)), lost), counts, rule, duplicates, where)


def _normal_part(raw: Texts, rule: str) -> tuple[Texts, npt.NDArray[np.int64], dict[str, int]]:
    """The tokens that there are, the places of identifiers without one, and why."""
    found = normalise(raw, rule)
    lost = np.flatnonzero([token is None for token in found.tokens])
    return Texts.of(token for token in found.tokens if token is not None), lost, found.counts


def _distinct(
    tokens: Texts, rows: npt.NDArray[np.int64], counts: Counter[str], rule: str, duplicates: str, where: str
) -> Usable:
    """The first of equal tokens. `rows`: the table row of each token."""
    firsts = first_places(tokens)
    repeats = np.flatnonzero(firsts != np.arange(len(firsts)))
    if len(repeats) and duplicates == "error":
        pairs = ", ".join(f"{rows[firsts[place]] + 1} and {rows[place] + 1}" for place in repeats[:_FIRST_ROWS])
        more = ", ..." if len(repeats) > _FIRST_ROWS else ""
        raise UsageError(
            f"{where}: {len(repeats)} rows repeat the identifier of an earlier row after rule {rule}: "
            f"data rows {pairs}{more}",
            remedy='Keep one row per customer, or agree on duplicates = "first".',
        )
    if len(repeats):
        kept = np.delete(np.arange(len(rows)), repeats)
        tokens, rows = tokens.take(kept), rows[kept]
    total = len(firsts) + sum(counts.values())
    blank, null_like, too_long, invalid = (counts[reason] for reason in REASONS)
    return Usable(tokens, rows, IdReport(rule, total, len(rows), blank, null_like, too_long, invalid, len(repeats)))


def _check_share(
    total: int, lost: npt.NDArray[np.int64], counts: Counter[str], rule: str, limit: float, where: str
) -> None:
    """Refuses a table with too many identifiers without a token, or without any usable one."""
    excluded = len(lost)
    if total > excluded and excluded <= limit * total:
        return
    if total == 0:
        raise UsageError(f"{where}: there are no identifiers", remedy="Export the customers again, with data rows.")
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)
    listed = ", ".join(str(row + 1) for row in lost[:_FIRST_ROWS]) + (", ..." if excluded > _FIRST_ROWS else "")
    allowed = f"more than the {limit:.1%} allowed" if total > excluded else "none is left"
    raise UsageError(
        f"{where}: {excluded} of {total} identifiers ({excluded / total:.1%}, {allowed}) are unusable "
        f"under rule {rule}: {reasons}; first data rows {listed}",
        remedy="Fix these rows, choose the right id column and id_rule, or agree on a higher max_invalid_share.",
    )


# ---- rules -----------------------------------------------------------------------------------------------------------


def _by_parts(part_rule: Callable[[str], str]) -> Callable[[str], str]:
    """A rule for identifiers of one or several columns: each part has its own normal form."""

    def rule(raw: str) -> str:
        if len(raw) > 4 * MAX_LENGTH:
            raise _NoToken("too-long")
        token = part_rule(raw) if JOINT not in raw else JOINT.join(map(part_rule, raw.split(JOINT)))
        if len(token) > MAX_LENGTH:
            raise _NoToken("too-long")
        return token

    return rule


def _refuse_empty(text: str) -> None:
    """Refuses blank and null-like identifiers."""
    bare = text.strip()
    if not bare:
        raise _NoToken("blank")
    if bare.casefold() in NULL_LIKE:
        raise _NoToken("null-like")


def _refuse_control(text: str) -> None:
    """Refuses control characters, lone surrogates and code points that Unicode may still assign."""
    if not text.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in text):
        raise _NoToken("invalid")


def _exact(raw: str) -> str:
    text = _folded(raw)
    _refuse_empty(text)
    _refuse_control(raw)
    return raw


def _text(raw: str) -> str:
    text = _folded(raw)
    _refuse_empty(text)
    _refuse_control(text)
    return text


def _folded(raw: str) -> str:
    """NFKC and case-folding until nothing changes, without invisible characters, spaces stripped and collapsed."""
    if raw.isascii():
        return " ".join(raw.lower().split())
    before = None
    while raw != before:
        before = raw
        raw = unicodedata.normalize("NFKC", raw).casefold()
        raw = " ".join("".join(c for c in raw if unicodedata.category(c) != "Cf").split())
    return raw


_SEPARATORS = re.compile(r"[\s.()/\-\u2010-\u2015\u2212]+")
_NUMBER = re.compile(r"(\+|00)?([0-9]+)")


def _phone(plan: Plan | None) -> Callable[[str], str]:
    """The rule of phone numbers; without a plan every number must be international."""

    def rule(raw: str) -> str:
        if len(raw) > MAX_LENGTH:
            raise _NoToken("too-long")
        text = _folded(raw)
        _refuse_empty(text)
        match = _NUMBER.fullmatch(_SEPARATORS.sub("", text))
        if match is None or JOINT in raw:  # a number made of several columns is no number
            raise _NoToken("invalid")
        prefix, digits = match.groups()
        if not digits.strip("0"):
            raise _NoToken("null-like")
        if prefix is None:
            if plan is None:
                raise _NoToken("invalid")
            digits = plan.code + _subscriber(plan, digits)
        elif plan is not None and digits.startswith(plan.code):
            digits = plan.code + _subscriber(plan, digits.removeprefix(plan.code))
        if digits[0] == "0" or not 8 <= len(digits) <= 15:
            raise _NoToken("invalid")
        return "+" + digits

    return rule


def _subscriber(plan: Plan, digits: str) -> str:
    """The national number without trunk prefix or calling code; invalid when its length is not the plan's."""
    for prefix in ("", plan.trunk, plan.code, plan.code + plan.trunk):
        rest = digits.removeprefix(prefix)
        fits = plan.shortest <= len(rest) <= plan.longest and not (plan.trunk == "0" and rest.startswith("0"))
        if digits.startswith(prefix) and fits:
            return rest
    raise _NoToken("invalid")


_RULES: dict[str, Callable[[str], str]] = {
    "exact@1": _by_parts(_exact),
    "text@1": _by_parts(_text),
    "phone@1": _phone(None),
    **{f"phone-{country}@1": _phone(plan) for country, plan in PLANS.items()},
}

"""The settlement file: what the bank's payment system is to pay, with a control total.

    record,reference,period,party,entity,amount,currency
    P,consortium-1-2026-11-0001,2026-11,telecom,Telecom plc,1234.50,EUR
    T,2,,,,2469.00,EUR

One line P for each payment; the last line is T, with the number of payments under `reference` and their sum under
`amount`. Amounts are decimal, with as many places as the currency has minor units (ISO 4217). A file is whole or not
there: it replaces an older one at once, and the reader refuses one whose totals do not fit.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vfl.errors import UsageError
from vfl.files import csv_bytes, refusals, write_data

COLUMNS = ("record", "reference", "period", "party", "entity", "amount", "currency")
_NO_MINOR = frozenset({"CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"})
_THREE = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
_FORMULA = re.compile(r"^[=+\-@\t\r]")


@dataclass(frozen=True)
class Payment:
    """reference: unique.   amount: minor units, above 0."""

    reference: str
    period: str
    party: str
    entity: str
    amount: int


def digits_of(currency: str) -> int:
    """Places of its minor unit, ISO 4217. Raises UsageError for what is no code of three capital letters."""
    if not re.fullmatch("[A-Z]{3}", currency):
        raise UsageError(f"currency is {currency!r:.40}", remedy="name it by its code of ISO 4217, as EUR")
    return 0 if currency in _NO_MINOR else 3 if currency in _THREE else 2


def written(amount: int, currency: str) -> str:
    """Minor units as a decimal: 123450 EUR cents are "1234.50"."""
    digits = digits_of(currency)
    whole, part = divmod(abs(amount), 10**digits)
    return f"{'-' if amount < 0 else ''}{whole}" + (f".{part:0{digits}d}" if digits else "")


def settlement_bytes(payments: Sequence[Payment], currency: str) -> bytes:
    """The file, UTF-8. Raises UsageError for a payment that cannot be made as it is written."""
    for one in payments:
        if one.amount <= 0:
            raise UsageError(f"payment {one.reference} is of {written(one.amount, currency)} {currency}")
        if any(_FORMULA.match(text) for text in (one.reference, one.party, one.entity)):
            raise UsageError(
                f"payment {one.reference!r:.80} names what a spreadsheet would run as a formula",
                remedy="let names begin with a letter or a digit",
            )
    if len({one.reference for one in payments}) < len(payments):
        raise UsageError("two payments have one reference")
    rows = [
        ("P", one.reference, one.period, one.party, one.entity, written(one.amount, currency), currency)
        for one in payments
    ]
    total = written(sum(one.amount for one in payments), currency)
    return csv_bytes(COLUMNS, [*rows, ("T", len(payments), "", "", "", total, currency)])


def write_settlement(path: Path, payments: Sequence[Payment], currency: str) -> None:
    """Write the file. Raises UsageError as `settlement_bytes` does, or where the disk refuses."""
    data = settlement_bytes(payments, currency)
    with refusals(path.parent, "choose another file"):
        write_data(path, data)


def read_settlement(path: Path) -> tuple[list[Payment], str]:
    """The payments and their currency.

    Raises UsageError, naming the line where there is one, for what `write_settlement` would not have written.
    """
    try:
        data = path.read_bytes()
        rows = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy="name a settlement file") from None
    if len(rows) < 2 or tuple(rows[0]) != COLUMNS or rows[-1][:1] != ["T"] or any(len(r) != len(COLUMNS) for r in rows):
        raise UsageError(f"{path} is no whole settlement file", remedy="its last line must be the control total T")
    currency = rows[-1][6]
    payments = [_payment(path, number, row, currency) for number, row in enumerate(rows[1:-1], 2)]
    total = written(sum(one.amount for one in payments), currency)
    if (rows[-1][1], rows[-1][5]) != (str(len(payments)), total):
        raise UsageError(
            f"{path}: the control total is {rows[-1][5]} for {rows[-1][1]} payments, the lines have "
            f"{total} for {len(payments)}",
            remedy="pay nothing of it; have it written anew: tallystick settle pay",
        )
    if settlement_bytes(payments, currency) != data:
        raise UsageError(f"{path} is not in its one form", remedy="have it written anew: tallystick settle pay")
    return payments, currency


def _payment(path: Path, number: int, row: Sequence[str], currency: str) -> Payment:
    record, reference, period, party, entity, amount, its = row
    digits = digits_of(currency)
    form = r"(0|[1-9][0-9]*)" + (rf"\.[0-9]{{{digits}}}" if digits else "")
    if record != "P" or its != currency or not re.fullmatch(form, amount):
        raise UsageError(f"{path}, line {number}: not a payment in {currency}", remedy="have the file written anew")
    return Payment(reference, period, party, entity, int(amount.replace(".", "")))

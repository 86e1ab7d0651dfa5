"""The settlement file: paid as written, or refused whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.settle.payments import Payment, digits_of, read_settlement, settlement_bytes, write_settlement, written

TWO = [Payment("c-1", "2026-11", "telecom", 'Telecom "plc", Ltd', 123450), Payment("c-2", "2026-11", "shop", "店铺", 7)]


def test_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "payments.csv"
    write_settlement(path, TWO, "EUR")
    assert path.read_text(encoding="utf-8").splitlines() == [
        "record,reference,period,party,entity,amount,currency",
        'P,c-1,2026-11,telecom,"Telecom ""plc"", Ltd",1234.50,EUR',
        "P,c-2,2026-11,shop,店铺,0.07,EUR",
        "T,2,,,,1234.57,EUR",
    ]
    assert read_settlement(path) == (TWO, "EUR")
    write_settlement(path, [], "EUR")
    assert read_settlement(path) == ([], "EUR")


def test_amounts_have_the_places_of_their_currency() -> None:
    assert [written(1234, each) for each in ("EUR", "JPY", "KWD")] == ["12.34", "1234", "1.234"]
    assert (written(-5, "EUR"), written(0, "TND"), digits_of("CNY")) == ("-0.05", "0.000", 2)
    for wrong in ("eur", "EURO", "€", ""):
        with pytest.raises(UsageError, match="currency is"):
            digits_of(wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("1234.50", "1234.51"), "the control total is 1234.57 for 2 payments, the lines have 1234.58 for 2"),
        (("T,2", "T,3"), "the control total is 1234.57 for 3 payments"),
        (("P,c-2,2026-11,shop,店铺,0.07,EUR\n", ""), "the lines have 1234.50 for 1"),
        (("T,2,,,,1234.57,EUR\n", ""), "is no whole settlement file"),
        (("0.07,EUR", "0.07,USD"), "line 3: not a payment in EUR"),
        (("0.07", "0.070"), "line 3: not a payment in EUR"),
        (("0.07", "-0.07"), "line 3: not a payment in EUR"),
        (("0.07", "0x7"), "line 3: not a payment in EUR"),
        (("record,", "kind,"), "is no whole settlement file"),
        (("P,c-2", "P,c-1"), None),
    ],
)
def test_a_file_that_somebody_changed_is_not_paid(tmp_path: Path, change: tuple[str, str], said: str | None) -> None:
    path = tmp_path / "payments.csv"
    write_settlement(path, TWO, "EUR")
    path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(UsageError, match=said or "two payments have one reference"):
        read_settlement(path)


@pytest.mark.parametrize(
    ("payment", "said"),
    [
        (Payment("r", "2026-11", "shop", "Shop", 0), "payment r is of 0.00 EUR"),
        (Payment("r", "2026-11", "shop", "Shop", -1), "payment r is of -0.01 EUR"),
        (Payment("r", "2026-11", "shop", "=cmd|' /C calc'!A0", 1), "would run as a formula"),
    ],
)
def test_what_cannot_be_paid_is_not_written(tmp_path: Path, payment: Payment, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        write_settlement(tmp_path / "payments.csv", [payment], "EUR")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="cannot be written"):
        write_settlement(tmp_path / "none" / "payments.csv", TWO, "EUR")
    with pytest.raises(UsageError, match="cannot be read"):
        read_settlement(tmp_path / "payments.csv")


@given(st.lists(st.integers(1, 10**15), max_size=20), st.sampled_from(["EUR", "JPY", "BHD"]))
def test_what_is_written_is_what_is_owed(amounts: list[int], currency: str) -> None:
    payments = [Payment(f"r-{n}", "2026-11", "p", "E", amount) for n, amount in enumerate(amounts)]
    total = settlement_bytes(payments, currency).decode().splitlines()[-1].split(",")[5]
    assert int(total.replace(".", "")) == sum(amounts)

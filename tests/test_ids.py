"""Identifier rules: what agrees, what never matches, and what a table with bad identifiers is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfl.errors import UsageError
from vfl.ids import MAX_LENGTH, NULL_LIKE, PLANS, check_rule, normalise, rule_names, usable
from vfl.table import JOINT, read_table

FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}  # full-width forms of ASCII
RULES = rule_names()


def token(raw: str, rule: str = "text@1") -> str | None:
    return normalise([raw], rule).tokens[0]


def reason(raw: str, rule: str = "text@1") -> str:
    result = normalise([raw], rule)
    assert result.tokens == [None]
    return next(name for name, count in result.counts.items() if count)


# ---- text and exact --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", ["ab1", "AB1", " ab1", "ab1\t", "\uff21\uff42\uff11", "a\u200bb1", "\ufeffab1"])
def test_case_spaces_and_full_width_agree_under_text(raw: str) -> None:
    assert token(raw) == "ab1"


def test_text_collapses_inner_space_and_keeps_leading_zeros() -> None:
    assert token("  Ana \u00a0 \u3000María ") == "ana maría"
    assert token("STRASSE 1") == token("straße 1")
    assert token("007") == "007"
    assert token("7") != token("007")


def test_exact_changes_nothing() -> None:
    assert token("Ab 1", "exact@1") == "Ab 1"
    assert token("\uff11", "exact@1") == "\uff11"
    assert reason("ab\n", "exact@1") == "invalid"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("raw", ["", " ", "\t\n", "\u3000", "\u200b", "\u00a0\ufeff"])
def test_a_blank_has_no_token(rule: str, raw: str) -> None:
    assert reason(raw, rule) == "blank"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("raw", [*sorted(NULL_LIKE), "NULL", " NaN ", "\uff0d", "\uff10"])
def test_a_null_like_identifier_has_no_token(rule: str, raw: str) -> None:
    assert reason(raw, rule) == "null-like"


@pytest.mark.parametrize("raw", ["a\x00b", "a\x07", "\ud800", "a\U000e1000"])
def test_control_characters_and_unassigned_code_points_are_invalid(raw: str) -> None:
    assert reason(raw) == "invalid"
    assert reason(raw, "exact@1") == "invalid"


@pytest.mark.parametrize("rule", RULES)
def test_too_long(rule: str) -> None:
    assert reason("1" * 2000, rule) == "too-long"
    assert token("x" * MAX_LENGTH) == "x" * MAX_LENGTH
    assert reason("x" * (MAX_LENGTH + 1)) == "too-long"
    assert reason("\ufdfa" * MAX_LENGTH) == "too-long"  # one character that NFKC spells out as eighteen


def test_parts_of_a_combined_identifier_are_normalised_one_by_one() -> None:
    assert token(f" A{JOINT}1 ") == token(f"a{JOINT}1") == f"a{JOINT}1"
    assert token(f"a1{JOINT}2") != token(f"a{JOINT}12")
    assert reason(f"a{JOINT} ") == "blank"
    assert reason(f"a{JOINT}NULL") == "null-like"
    assert reason(f"34{JOINT}200000001", "phone-es@1") == "invalid"


@given(st.text(max_size=40), st.sampled_from(RULES))
def test_rules_are_idempotent_and_never_make_a_token_of_nothing(raw: str, rule: str) -> None:
    first = token(raw, rule)
    if first is not None:
        assert token(first, rule) == first
        assert first.strip()
        assert first.strip().casefold() not in NULL_LIKE
        assert len(first) <= MAX_LENGTH
        first.encode()


@given(st.text(alphabet=" \t\n\r\u00a0\u2003\u3000\u200b\ufeff\x1c", max_size=20), st.sampled_from(RULES))
def test_whatever_looks_blank_is_blank(raw: str, rule: str) -> None:
    assert token(raw, rule) is None


@given(st.lists(st.text(max_size=12), max_size=30), st.sampled_from(RULES))
def test_every_identifier_is_a_token_or_counted(raw: list[str], rule: str) -> None:
    result = normalise(raw, rule)
    assert len(result.tokens) == len(raw)
    assert sum(result.counts.values()) == result.tokens.count(None)


# ---- phone numbers ---------------------------------------------------------------------------------------------------


@st.composite
def spellings(draw: st.DrawFn, country: str) -> tuple[str, str]:
    """A number of the plan in E.164, and the same number as somebody might write it."""
    plan = PLANS[country]
    length = draw(st.integers(plan.shortest, plan.longest))
    number = draw(st.sampled_from("2356789")) + draw(st.text("0123456789", min_size=length - 1, max_size=length - 1))
    head = draw(st.sampled_from(["", plan.trunk, f"+{plan.code}", f"00{plan.code}", f"+{plan.code} ({plan.trunk})"]))
    mark = st.sampled_from(["", "", " ", "-", ".", "/", "(", ")", "\u2011", "\u00a0"])
    marks = draw(st.lists(mark, min_size=length, max_size=length))
    written = head + "".join(mark + digit for mark, digit in zip(marks, number, strict=True))
    written = draw(st.sampled_from([written, f" {written}\t", written.translate(FULL_WIDTH)]))
    return f"+{plan.code}{number}", written


@given(st.sampled_from(sorted(PLANS)).flatmap(lambda country: st.tuples(st.just(country), spellings(country))))
def test_spellings_of_one_number_agree(case: tuple[str, tuple[str, str]]) -> None:
    country, (number, written) = case
    assert token(written, f"phone-{country}@1") == number
    assert token(number, "phone@1") == number


@pytest.mark.parametrize(
    "raw",
    ["+34200000001", "0034 200 000 001", "200-000-001", "200.000.001", "34200000001", "(200) 000/001",
     "+34200000001".translate(FULL_WIDTH), "  200000001 "],
)  # fmt: skip
def test_spanish_spellings(raw: str) -> None:
    assert token(raw, "phone-es@1") == "+34200000001"


@pytest.mark.parametrize(
    "raw", ["+886 112345678", "0112-345-678", "(011) 2345678", "886112345678", "+886 (0)112 345 678", "00886112345678"]
)
def test_taiwanese_spellings(raw: str) -> None:
    assert token(raw, "phone-tw@1") == "+886112345678"


def test_foreign_numbers_keep_their_country() -> None:
    assert token("+886112345678", "phone-es@1") == "+886112345678"
    assert token("00351 200 000 001", "phone-es@1") == "+351200000001"


@pytest.mark.parametrize("raw", ["12345", "abc", "+34 2000", "200000001 ext 3", "++34200000001", "+", "2000000012"])
def test_invalid_numbers(raw: str) -> None:
    assert reason(raw, "phone-es@1") in ("invalid", "null-like")


def test_numbers_without_country_need_a_plan() -> None:
    assert reason("200000001", "phone@1") == "invalid"
    assert reason("000000000", "phone-es@1") == "null-like"
    assert reason("+0000", "phone@1") == "null-like"


# ---- whole tables ----------------------------------------------------------------------------------------------------


def refused(raw: list[str], *words: str, remedy: str = "", rule: str = "text@1", **arguments: object) -> None:
    with pytest.raises(UsageError) as caught:
        usable(raw, rule, where="bank.csv: id column 'phone'", **arguments)  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert remedy in caught.value.remedy
    for identifier in raw:
        assert len(identifier) < 4 or identifier not in caught.value.diagnostics()


def test_usable_tokens_point_at_their_rows() -> None:
    found = usable(["a", "", "b", "NULL", "c"], "text@1", max_invalid_share=0.5)
    assert found.tokens == ["a", "b", "c"]
    assert found.rows.tolist() == [0, 2, 4]
    assert found.rows.dtype == "int64"
    report = found.report
    assert (report.rows, report.usable, report.blank, report.null_like, report.excluded) == (5, 3, 1, 1, 2)
    assert report.rule == "text@1"


def test_duplicates_are_refused_with_row_numbers_only() -> None:
    raw = ["anna-1", "bert-2", "ANNA-1 ", "bert-2", "carl-3"]
    refused(raw, "bank.csv", "'phone'", "2 rows repeat", "data rows 1 and 3, 2 and 4", remedy='duplicates = "first"')
    refused(["same"] * 20, "19 rows", "1 and 2, 1 and 3, 1 and 4, 1 and 5, 1 and 6, ...")
    found = usable(raw, "text@1", duplicates="first")
    assert found.tokens == ["anna-1", "bert-2", "carl-3"]
    assert found.rows.tolist() == [0, 1, 4]
    assert found.report.duplicates == 2


def test_too_many_unusable_identifiers_are_refused_with_row_numbers() -> None:
    raw = [f"customer-{row}" for row in range(94)] + ["", "NULL", "0", "", "", ""]
    refused(raw, "6 of 100", "6.0%, more than the 5.0% allowed", "4 blank, 2 null-like", "rows 95, 96, 97, 98, 99, ...",
            remedy="max_invalid_share")  # fmt: skip
    assert usable(raw, "text@1", max_invalid_share=0.06).report.usable == 94
    assert usable(raw[:-1], "text@1", max_invalid_share=0.06).report.blank == 3


def test_a_table_without_a_usable_identifier_is_refused_whatever_the_limit() -> None:
    refused(["", "-"], "2 of 2", "none is left", max_invalid_share=1.0)
    refused([], "no identifiers", max_invalid_share=1.0)


def test_unknown_rules_and_policies_name_the_closest() -> None:
    with pytest.raises(UsageError, match=r"'text@2'") as caught:
        check_rule("text@2")
    assert "'text@1'" in caught.value.remedy
    with pytest.raises(UsageError) as caught:
        normalise([], "phone-sp@1")
    assert "phone-" in caught.value.remedy
    refused(["a"], "'frist'", remedy="'first'", duplicates="frist")


@pytest.mark.parametrize(
    ("bank", "partner", "answer"),
    [
        ("1,2,2,3", "2,3,3,4", "refused"),  # duplicates on both sides
        ("7,|,2,3", "3,2,9", "2=2 3=3"),  # a blank line
        ('7,"",2,3', '"",3,2,9', "2=2 3=3"),  # blank identifiers on both sides
        ("ab1,cd2", "AB1,Cd2", "ab1=AB1 cd2=Cd2"),  # case
        ("ab1 , cd2", "ab1,cd2", "ab1 =ab1  cd2=cd2"),  # spaces
        ("12,34", "\uff11\uff12,\uff13\uff14", "12=\uff11\uff12 34=\uff13\uff14"),  # full-width digits
    ],
)
def test_the_six_inputs_that_misalign_elsewhere(tmp_path: Path, bank: str, partner: str, answer: str) -> None:
    """Each row carries its own identifier's position as its value, so that a shift would show."""
    sides = []
    for name, ids in (("bank", bank), ("partner", partner)):
        cells = ids.split(",")
        lines = ["" if cell == "|" else f"{cell},{at}" for at, cell in enumerate(cells)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["id,at", *lines]) + "\n")
        table = read_table(tmp_path / f"{name}.csv", "id")
        if answer == "refused":
            with pytest.raises(UsageError, match="repeat the identifier"):
                usable(table.ids, "text@1", max_invalid_share=0.5)
            continue
        found = usable(table.ids, "text@1", max_invalid_share=0.5)
        at = table.columns["at"][found.rows].astype(int)
        sides.append({token: cells[position] for token, position in zip(found.tokens, at, strict=True)})
    if sides:
        common = [token for token in sides[0] if token in sides[1]]
        assert " ".join(f"{sides[0][token]}={sides[1][token]}" for token in common) == answer

import pytest
from ledger_kit import identity

from ledger.errors import BadPolicy
from ledger.policy import Policy

A, B, C, R = (identity(name) for name in ("bank", "telecom", "bureau", "regulator"))
LOG = f"log {A.identity.verifying.vkey}\n"
W = {who.name: who.witness.verifying for who in (A, B, C, R)}
WITNESSES = "".join(f"witness {name} {key.vkey}\n" for name, key in W.items())


def test_parser_and_printer_agree():
    text = LOG + WITNESSES + "group ours 2 bank telecom bureau\ngroup both all ours regulator\nquorum both\n"
    policy = Policy.parse(text)
    assert str(policy) == text
    loose = text.replace("group ours", "  # a remark\n\n\tgroup\t ours").replace("quorum", " quorum")
    assert Policy.parse(loose) == policy
    assert Policy.parse(text.replace(LOG, LOG[:-1] + " https://bank.example\n")) == policy
    assert policy.log_key("bank") == A.identity.verifying
    assert policy.log_key("nobody") is None
    assert policy.witness_of("telecom") == W["telecom"]


def quorum(rule, signed, party="bank"):
    return Policy.parse(LOG + WITNESSES + rule).quorum_met([W[name] for name in signed], party)


@pytest.mark.parametrize(
    ("rule", "signed", "met"),
    [
        ("quorum none\n", [], True),
        ("quorum telecom\n", ["telecom"], True),
        ("quorum telecom\n", ["bureau"], False),
        ("quorum bank\n", ["bank"], False),
        ("group g any bank telecom\nquorum g\n", ["bank"], False),
        ("group g any bank telecom\nquorum g\n", ["telecom"], True),
        ("group g all bank telecom bureau\nquorum g\n", ["telecom"], False),
        ("group g all bank telecom bureau\nquorum g\n", ["telecom", "bureau"], True),
        ("group g 2 bank telecom bureau\nquorum g\n", ["bank", "telecom"], False),
        ("group g 2 bank telecom bureau\nquorum g\n", ["bureau", "telecom"], True),
        ("group g 2 bank telecom\nquorum g\n", ["bank", "telecom"], False),
        ("group g all bank\nquorum g\n", ["bank", "telecom"], False),
        ("group g all bank\ngroup h all g regulator\nquorum h\n", ["regulator"], True),
        ("group g any telecom bureau\ngroup h all g regulator\nquorum h\n", ["regulator"], False),
        ("group g any telecom bureau\ngroup h all g regulator\nquorum h\n", ["regulator", "bureau"], True),
    ],
)
def test_quorum(rule, signed, met):
    assert quorum(rule, signed) is met


def test_usual_policy():
    policy = Policy.of([A, B.public], [R])
    assert policy.parties == ("bank", "telecom")
    assert policy.quorum_met([W["telecom"], W["regulator"]], "bank")
    assert not policy.quorum_met([W["telecom"]], "bank")
    assert Policy.of([A, B], quorum="none").quorum_met([], "bank")
    assert Policy.parse(str(policy)) == policy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no quorum"),
        (LOG, "no quorum"),
        ("quorum none\nquorum none\n", "line 2: there is a second"),
        ("quorum x\n", "line 1: quorum x is not defined"),
        ("logs x\n", "is no log"),
        ("log x\n", "is no key"),
        (LOG + LOG, "repeats"),
        (f"log {W['bank'].vkey}\n", "not of type 0x01"),
        (f"witness a {A.identity.verifying.vkey}\n", "not of type 0x04"),
        (WITNESSES + f"witness other {W['bank'].vkey}\n", "repeats"),
        (WITNESSES + "group bank any telecom\n", "taken"),
        (WITNESSES + "group none any telecom\n", "taken"),
        (WITNESSES + "group g any\n", "0 members"),
        (WITNESSES + "group g 0 telecom\n", "needs"),
        (WITNESSES + "group g 02 telecom bureau\n", "needs"),
        (WITNESSES + "group g 3 telecom bureau\n", "needs"),
        (WITNESSES + "group g any telecom telecom\n", "counts once"),
        (WITNESSES + "group g any h\ngroup h any telecom\n", "no earlier line"),
        (WITNESSES + "group g any none\n", "no earlier line"),
        ("quorum none\r\n", "control character"),
        (b"# \xff\nquorum none\n", "UTF-8"),
        ("#" * 1_000_001, "limit"),
    ],
)
def test_refused_policies(text, says):
    with pytest.raises(BadPolicy, match=says):
        Policy.parse(text)

"""`consortium`: a bank pays three partners for their data; then come a partner with noise, a copycat and a liar."""

from __future__ import annotations

from dataclasses import replace

from scenarios import card_limit
from scenarios.split import Act, Part

_BANK, _WALLET, _TELECOM, _BUREAU = card_limit.STORY.parts
_HONEST = ("bank", "wallet", "telecom", "bureau")

STORY = replace(
    card_limit.STORY,
    name="consortium",
    title="what partners' data is worth, paid by contract; noise, a copy and a lie",
    people=20_000,
    parts=(
        _BANK, _WALLET, _TELECOM, _BUREAU,
        Part(
            name="adnet", id="phone", style="e164", others=0.05, made="noise",
            columns={f"segment{number}": f"PAY_AMT{number}" for number in range(1, 7)},
            reasons={f"segment{number}": "Interests seen in advertising" for number in range(1, 7)},
        ),
        Part(
            name="broker", id="phone", style="dashed", others=0.05, made="copy",
            columns={f"late_{month}": f"PAY_{month}" for month in (0, 2, 3, 4, 5, 6)},
            reasons={f"late_{month}": "Missed payments at another lender" for month in (0, 2, 3, 4, 5, 6)},
        ),
    ),
    model={
        "num_iterations": 10, "learning_rate": 0.25, "num_leaves": 8, "max_bin": 32, "min_data_in_leaf": 100,
        "lambda_l2": 20.0, "min_gain_to_split": 5.0,
    },
    settlement={
        "value": "profit", "approve": 0.8, "profit_good": 25_000, "loss_bad": 150_000, "price": 40, "currency": "EUR",
        "stake": 1_000_000,
    },
    entities={
        "bank": "Harbour Bank", "wallet": "Tangerine Wallet", "telecom": "Strait Telecom", "bureau": "Island Bureau",
        "adnet": "Lantern Ads", "broker": "Mirror Data",
    },
    acts=(
        Act("honest", "a bank and three honest partners", _HONEST),
        Act("noise", "the same, and an advertiser whose columns are noise", (*_HONEST, "adnet")),
        Act("copycat", "the same, and a broker who copies the bureau", (*_HONEST, "broker")),
        Act("liar", "the first again; then the telecom rewrites its ledger", _HONEST, liar="telecom"),
    ),
)  # fmt: skip

"""`thin-file`: young card applicants of a Taiwanese bank, of whom nobody knows much yet."""

from __future__ import annotations

from scenarios.split import Part, Story

STORY = Story(
    name="thin-file",
    title="young customers of a Taiwanese bank with short histories",
    origin="Default of Credit Card Clients, UCI 350 (Yeh & Lien 2009, CC BY 4.0): 3,871 cards of the young, 27 % bad",
    file="taiwan_credit_card_default_30k.csv.gz",
    country="tw",
    calling_code="886",
    trunk="0",
    first_digit="1",  # no Taiwanese subscriber number begins with 1
    codes={},
    where={"AGE": (0, 25)},
    parts=(
        Part(
            name="bank", id="customer_phone", style="e164", label="default.payment.next.month",
            columns={"limit_bal": "LIMIT_BAL", "age": "AGE", "education": "EDUCATION"},
            reasons={"limit_bal": "Present credit limit", "education": "Level of education"},
        ),
        Part(
            name="wallet", id="account_phone", style="dashed", coverage=0.68, others=0.30, thin=0.5,
            columns={f"pay_amt{month}": f"PAY_AMT{month}" for month in range(1, 7)},
            reasons={f"pay_amt{month}": "Amounts paid in recent months" for month in range(1, 7)},
        ),
        Part(
            name="bureau", id="phone", style="spaced", coverage=0.60, others=0.20, suffix=".parquet", thin=0.6,
            columns={f"pay_{month}": f"PAY_{month}" for month in (0, 2, 3, 4, 5, 6)},
            reasons={
                **dict.fromkeys(("pay_0", "pay_2"), "Recent missed payments at another lender"),
                **dict.fromkeys(("pay_3", "pay_4", "pay_5", "pay_6"), "Earlier missed payments at another lender"),
            },
        ),
    ),
    duplicates=0,
    model={
        "num_iterations": 40, "learning_rate": 0.08, "num_leaves": 6, "max_bin": 16, "min_data_in_leaf": 25,
        "min_data_in_bin": 20,
    },
)  # fmt: skip

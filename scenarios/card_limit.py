"""`card-limit`: a Taiwanese bank reviews credit card limits; wallet, telecom and bureau see how people pay."""

from __future__ import annotations

from scenarios.split import Part, Story

STORY = Story(
    name="card-limit",
    title="credit card limits of a Taiwanese bank",
    origin="Default of Credit Card Clients, UCI 350 (Yeh & Lien 2009, CC BY 4.0), 30,000 cards, 22 % bad",
    file="taiwan_credit_card_default_30k.csv.gz",
    country="tw",
    calling_code="886",
    trunk="0",
    first_digit="1",  # no Taiwanese subscriber number begins with 1
    codes={},
    parts=(
        Part(
            name="bank", id="customer_phone", style="e164", label="default.payment.next.month",
            columns={
                "limit_bal": "LIMIT_BAL", "age": "AGE", "sex": "SEX", "education": "EDUCATION", "marriage": "MARRIAGE",
            },
            kept_out=("sex", "marriage"),
            reasons={"limit_bal": "Present credit limit", "education": "Level of education"},
        ),
        Part(
            name="wallet", id="account_phone", style="dashed", coverage=0.94, others=0.20,
            columns={f"pay_amt{month}": f"PAY_AMT{month}" for month in range(1, 7)},
            reasons={f"pay_amt{month}": "Amounts paid in recent months" for month in range(1, 7)},
        ),
        Part(
            name="telecom", id="msisdn", style="zeros", coverage=0.93, others=0.15, suffix=".parquet",
            columns={f"bill_amt{month}": f"BILL_AMT{month}" for month in range(1, 7)},
            reasons={f"bill_amt{month}": "Amounts billed in recent months" for month in range(1, 7)},
        ),
        Part(
            name="bureau", id="phone", style="spaced", coverage=0.92, others=0.10,
            columns={f"pay_{month}": f"PAY_{month}" for month in (0, 2, 3, 4, 5, 6)},
            reasons={
                **dict.fromkeys(("pay_0", "pay_2"), "Recent missed payments at another lender"),
                **dict.fromkeys(("pay_3", "pay_4", "pay_5", "pay_6"), "Earlier missed payments at another lender"),
            },
        ),
    ),
    duplicates=0,
    model={"num_iterations": 12, "learning_rate": 0.25, "num_leaves": 8, "max_bin": 32},
)  # fmt: skip

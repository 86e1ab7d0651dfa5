"""`pos-loan`: a Spanish lender finances purchases at the till; bureau, telecom and payroll provider see the rest."""

from __future__ import annotations

from scenarios.split import Part, Story

STORY = Story(
    name="pos-loan",
    title="point-of-sale loans of a Spanish lender",
    origin="credit_data of the R package modeldata (MIT), 4,454 loans, 28 % bad",
    file="credit_data_es_4454.csv.gz",
    country="es",
    calling_code="34",
    trunk="",
    first_digit="2",  # no Spanish subscriber number begins with 2
    codes={
        "Status": {"good": "0", "bad": "1"},
        "Home": {"owner": "1", "parents": "2", "priv": "3", "rent": "4", "other": "5", "ignore": "6"},
        "Records": {"no": "0", "yes": "1"},
        "Marital": {"married": "1", "single": "2", "widow": "3", "separated": "4", "divorced": "5"},
        "Job": {"fixed": "1", "partime": "2", "freelance": "3", "others": "4"},
    },
    parts=(
        Part(
            name="bank", id="customer_phone", style="e164", label="Status",
            columns={"amount": "Amount", "price": "Price", "term": "Time", "home": "Home"},
            reasons={
                "amount": "Amount of the loan", "price": "Price of the purchase", "term": "Length of the loan",
                "home": "Housing situation",
            },
        ),
        Part(
            name="bureau", id="phone", style="spaced", coverage=0.95, others=0.20,
            columns={"records": "Records", "debt": "Debt", "assets": "Assets"},
            reasons={
                "records": "Missed payments at another lender", "debt": "Debt at other lenders",
                "assets": "Assets on record",
            },
        ),
        Part(
            name="telecom", id="msisdn", style="zeros", coverage=0.92, others=0.30, suffix=".parquet",
            columns={"age": "Age", "marital": "Marital", "seniority": "Seniority"}, kept_out=("marital",),
            reasons={"seniority": "Time in the present job"},
        ),
        Part(
            name="payroll", id="mobile", style="dashed", coverage=0.90, others=0.10,
            columns={"job": "Job", "income": "Income", "expenses": "Expenses"},
            reasons={
                "job": "Kind of employment", "income": "Level of income", "expenses": "Regular expenses",
            },
        ),
    ),
    duplicates=12,
    model={
        "num_iterations": 30, "learning_rate": 0.15, "num_leaves": 8, "max_bin": 32, "min_data_in_leaf": 20,
        "min_data_in_bin": 20,
    },
)  # fmt: skip

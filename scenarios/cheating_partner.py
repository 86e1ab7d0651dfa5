"""`cheating-partner`: the companies of `pos-loan`, and a payroll provider that bends its histograms."""

from __future__ import annotations

from dataclasses import replace

from scenarios import pos_loan

STORY = replace(
    pos_loan.STORY,
    name="cheating-partner",
    title="four companies lend at the till, and one of them bends what it says and is caught",
    origin="the first 700 loans of credit_data of the R package modeldata (MIT)",
    people=700,
    model={**pos_loan.STORY.model, "num_iterations": 2},
    privacy={"scheme": "paillier", "key_bits": 2048},
    cheats={"payroll": "noise"},
)

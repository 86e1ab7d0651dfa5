"""`cheating-partner`: the companies of `pos-loan`, and a payroll provider that bends its histograms."""

from __future__ import annotations

from dataclasses import replace

from scenarios import pos_loan

STORY = replace(
    pos_loan.STORY,
    name="cheating-partner",
    title="the companies of pos-loan, one of which bends what it says and is caught",
    people=700,
    model={**pos_loan.STORY.model, "num_iterations": 2},
    privacy={"scheme": "paillier", "key_bits": 2048},
    cheats={"payroll": "noise"},
)

"""Settlement: what each partner is worth, the contract that pays it, and what lies cost."""

"""Attacks by the parties of a run on each other, from what each legitimately saw to a figure of what it learns."""

"""Words and tables of Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def joined(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


def codes(words: Sequence[str]) -> str:
    """Between backticks, after commas."""
    return ", ".join(f"`{word}`" for word in words)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """With a line below its head."""
    body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

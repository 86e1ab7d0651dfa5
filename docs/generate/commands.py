"""Every command with its arguments and options."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from ledger.__main__ import _parser as ledger_parser
from vfl import cli

from .markdown import joined, table


def commands() -> str:
    """Every command with its arguments and options."""
    lines: list[str] = []
    for title, command in tallystick_commands("tallystick", typer.main.get_command(cli.app)):
        rows = [_option(p) for p in command.params if "--help" not in p.opts]
        lines += _command(title, command.help, rows)
    for title, parser in ledger_parsers():
        rows = []
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue  # listed by itself
            flag = ", ".join(action.option_strings)
            shown = f"`{flag} {action.metavar}`" if flag and action.metavar else f"`{flag or action.metavar}`"
            rows.append((shown, "required" if action.required else "", str(action.help)))
        lines += _command(title, parser.description or "", rows[1:])  # all but --help
    return "\n".join(lines[:-1])


def ledger_parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command of `python -m ledger`, and the parts of those that have some."""

    def within(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for part, found in action.choices.items():
                    yield f"{name} {part}", found
                    yield from within(f"{name} {part}", found)

    return within("python -m ledger", ledger_parser())


def tallystick_commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command of `tallystick`, and the parts of those that have some."""
    yield name, command
    for part, found in getattr(command, "commands", {}).items():
        yield from tallystick_commands(f"{name} {part}", found)


def _command(title: str, about: str, rows: Sequence[Sequence[str]]) -> list[str]:
    listed = [table(("argument or option", "default", "meaning"), rows), ""] if rows else []
    return [f"## `{title}`", "", joined(about), "", *listed]


def _option(parameter: Any) -> Sequence[str]:
    """Name, default and meaning of an argument or option of `tallystick`."""
    words, takes = "`, `".join(parameter.opts), parameter.metavar or parameter.name.upper()
    flag = words.startswith("-")
    name = takes if not flag else words if parameter.is_flag else f"{words} {takes}"
    about, _, shown = parameter.help.removesuffix("]").partition("  [default: ")
    default = "" if parameter.default in (None, False) else f"{parameter.default}"
    return f"`{name}`", "required" if parameter.required else shown or default, about

"""Tables and lines on a terminal, alike in all commands."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from vfl.progress import nobody


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        """Without the exit code 1 of other consoles: what was to be shown is done."""
        self.quiet = True
        nobody(self.file)


def screen() -> Console:
    """stdout for the results of long work: that nobody reads them any more does not make it fail."""
    return _Screen()


def table(*columns: str) -> Table:
    """An empty table: the first column is words, the others are numbers."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number == 0 else "right", no_wrap=number > 0)
    return made


def show(console: Console, title: str, made: Table) -> None:
    """A table under a title that may be wider than it."""
    console.print()
    console.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    console.print(made)


def say(console: Console, *lines: str) -> None:
    """Lines that a terminal may fold but we do not break: paths in them stay whole."""
    console.print()
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

"""Jinja2 on the templates of a package: whatever they print is escaped, and a name they do not know is an error."""

from __future__ import annotations

from typing import Any


def environment(package: str) -> Any:
    """The `jinja2.Environment` of PACKAGE/templates/."""
    import jinja2  # noqa: PLC0415 - most commands show no page

    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip


def tag(language: str) -> str:
    """A language as HTML names it."""
    return {"zh": "zh-Hans"}.get(language, language)

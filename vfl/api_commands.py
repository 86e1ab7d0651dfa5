"""What `tallystick api-key` does."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from vfl.api import keys
from vfl.api.keys import Credential
from vfl.clock import SystemClock
from vfl.console import say, screen, table
from vfl.errors import UsageError
from vfl.progress import tell


def new(
    folder: Path,
    client: str,
    scopes: Sequence[str],
    days: int,
    per_minute: int | None,
    per_day: int | None,
    certificate: Path | None,
    as_json: bool,
) -> None:
    """`tallystick api-key new`."""
    now = SystemClock().now().replace(microsecond=0)
    pem = _certificate(certificate) if certificate else ""
    wanted = keys.wanted(client, scopes, now, now + timedelta(days=days), per_minute, per_day, pem)
    key = keys.add(_file(folder), wanted)
    if as_json:
        _write({**_told(wanted, now), **({"key": key} if key else {})})
        return
    lines = [f"{client} may {', '.join(keys.SCOPES[each] for each in wanted.scopes)}, until {wanted.expires:%Y-%m-%d}."]
    if key:
        # Alone on stdout, so that it can be sent where it belongs; nobody can show it again.
        tell(sys.stderr, "\n".join([*lines, "The key is shown this once:", ""]))
        tell(sys.stdout, f"{key}\n")
    else:
        say(screen(), *lines, f"It is known by its certificate; id {wanted.id}.")


def list_keys(folder: Path, as_json: bool) -> None:
    """`tallystick api-key list`."""
    now, found = SystemClock().now(), keys.read(_file(folder))
    if as_json:
        _write({"keys": [_told(each, now) for each in found]})
        return
    shown = table("id", "client", "state", "scopes", "until", "a minute", "a day")
    for each in found:
        until = f"{each.expires:%Y-%m-%d}" if each.expires else "-"
        most = f"{each.per_day:,}" if each.per_day else "-"
        name = each.id + (" (certificate)" if each.certificate else "")
        shown.add_row(name, each.client, each.state(now), " ".join(each.scopes), until, f"{each.per_minute:,}", most)
    screen().print(shown)


def revoke(folder: Path, which: str, as_json: bool) -> None:
    """`tallystick api-key revoke`."""
    now = SystemClock().now().replace(microsecond=0)
    done = keys.revoke(_file(folder), which, now)
    if as_json:
        _write(_told(done, now))
    else:
        say(screen(), f"The key {done.id} of {done.client} counts no more.")


def _file(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", remedy="name the folder of a run, or of a party, that is served")
    return folder / keys.FILE


def _certificate(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no PEM"
        raise UsageError(f"the certificate {path} cannot be read: {why}", remedy="name a file in PEM") from None


def _told(each: Credential, now: datetime) -> Mapping[str, Any]:
    return {
        "id": each.id,
        "client": each.client,
        "state": each.state(now),
        "scopes": each.scopes,
        "created": each.created.isoformat(),
        "expires": each.expires.isoformat() if each.expires else None,
        "per_minute": each.per_minute,
        "per_day": each.per_day,
        "by": "certificate" if each.certificate else "key",
    }


def _write(body: Mapping[str, Any]) -> None:
    tell(sys.stdout, json.dumps(body, indent=2) + "\n")

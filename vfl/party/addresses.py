"""HOST:PORT, and whether it is this machine's own."""

from __future__ import annotations

import ipaddress
import re

from vfl.errors import UsageError
from vfl.table import shown

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):([0-9]{1,5})", re.A)


def parse_address(text: str, place: str) -> tuple[str, int]:
    """Host and port; an IPv6 address stands in brackets. Raises UsageError naming `place`."""
    found = _ADDRESS.fullmatch(text)
    host = found[1].strip("[]") if found else ""
    if not found or not 0 < int(found[2]) < 65_536 or not _is_host(host):
        raise UsageError(
            f"{place} is {shown(text)}", remedy="Write HOST:PORT, for instance bank.example:7443 or [2001:db8::1]:7443."
        )
    return host, int(found[2])


def written(host: str, port: int) -> str:
    """The address as `parse_address` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine can reach a listener at `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # Four numbers that are no address are a slip of the pen, not a name.
        return bool(_HOST.fullmatch(host)) and not re.fullmatch(r"[0-9.]+", host)
    return True

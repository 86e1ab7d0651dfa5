"""A zip file with one form only: the same members always give the same bytes, and any other byte is a fault.

Members are stored (never compressed), sorted by name, dated 1980-01-01, mode 0644, back to back, without extra fields,
comments or data descriptors; every zip program can open the file. Reading walks the local headers, takes no offset or
size on trust, and at the end builds the archive again from what was read and compares all bytes.
Source of the record layouts: PKWARE APPNOTE 4.3.7, 4.3.12, 4.3.16.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.errors import BadBundle

MAX_ARCHIVE_BYTES = 2**30
MAX_MEMBERS = 65_535
MAX_NAME_BYTES = 240

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION, _MADE_BY, _STORED, _TIME, _DATE = 20, (3 << 8) | 20, 0, 0, (0 << 9) | (1 << 5) | 1
_ATTRIBUTES = 0o100644 << 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*", re.ASCII)


@dataclass(slots=True)
class Contents:
    """What an archive holds: members by name, and one sentence for every departure from the one form."""

    members: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def check_name(name: str) -> str:
    """Return `name` when it is a relative path of plain segments; else raise BadBundle (`..`, `/x`, `a\\b`, spaces)."""
    if len(name) > MAX_NAME_BYTES or not _NAME.fullmatch(name):
        raise BadBundle(f"{name!r:.120} may not name a member: use plain relative paths of letters, digits and ._-")
    return name


def pack(members: Mapping[str, bytes]) -> bytes:
    """The archive of these members; raises BadBundle for a bad name or beyond 1 GiB or 65,535 members."""
    local, central = bytearray(), bytearray()
    for name in sorted(members):
        data, raw = members[name], check_name(name).encode("ascii")
        common = (0, _STORED, _TIME, _DATE, zlib.crc32(data), len(data), len(data), len(raw), 0)
        central += _CENTRAL.pack(_CENTRAL_MARK, _MADE_BY, _VERSION, *common, 0, 0, 0, _ATTRIBUTES, len(local)) + raw
        local += _LOCAL.pack(_LOCAL_MARK, _VERSION, *common) + raw + data
        if len(local) > MAX_ARCHIVE_BYTES:
            raise BadBundle(f"the bundle is larger than {MAX_ARCHIVE_BYTES} bytes")
    if len(members) > MAX_MEMBERS:
        raise BadBundle(f"the bundle has {len(members)} members, the limit is {MAX_MEMBERS}")
    end = _END.pack(_END_MARK, 0, 0, len(members), len(members), len(central), len(local), 0)
    return bytes(local + central) + end


def unpack(data: bytes) -> Contents:
    """Read an archive; never raises: what cannot be read is named in `faults`, what can is in `members`."""
    found = Contents()
    offset = 0
    while data[offset : offset + 4] == _LOCAL_MARK:
        if len(found.members) >= MAX_MEMBERS:
            found.faults.append(f"the archive has more than {MAX_MEMBERS} members")
            return found
        try:
            offset = _member(data, offset, found)
        except BadBundle as error:
            found.faults.append(f"at byte {offset}: {error}")
            return found
    if data[offset : offset + 4] not in (_CENTRAL_MARK, _END_MARK):
        found.faults.append(f"at byte {offset}: neither a member nor the directory begins here")
    elif not found.faults:
        _compare(data, found)
    return found


def _compare(data: bytes, found: Contents) -> None:
    try:
        again = pack(found.members)
    except BadBundle as error:
        found.faults.append(str(error))
        return
    if again != data:
        found.faults.append(f"at byte {_difference(again, data)}: the zip structure is not in its one form")


def _member(data: bytes, offset: int, found: Contents) -> int:
    if len(data) < offset + _LOCAL.size:
        raise BadBundle("a member's header is cut off")
    _, _, flags, method, _, _, crc, packed, size, name_size, extra = _LOCAL.unpack_from(data, offset)
    start = offset + _LOCAL.size + name_size + extra
    name = data[offset + _LOCAL.size : start - extra].decode("ascii", "replace")
    if method != _STORED or flags or packed != size:
        raise BadBundle(
            f"member {name!r:.120} is compressed, encrypted or streamed; a bundle stores its members plainly"
        )
    if start + size > len(data):
        raise BadBundle(f"member {name!r:.120} claims {size} bytes, more than the archive has left")
    check_name(name)
    content = data[start : start + size]
    if name in found.members:
        found.faults.append(f"member {name} is there twice")
    elif zlib.crc32(content) != crc:
        found.faults.append(f"member {name} does not fit its check sum")
    found.members.setdefault(name, content)
    return int(start + size)


def _difference(left: bytes, right: bytes) -> int:
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))

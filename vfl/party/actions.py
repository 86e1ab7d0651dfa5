"""What two persons of a party must approve, once it has named two: by name, and in words."""

from __future__ import annotations

from collections.abc import Mapping

NEEDED = 2
ACTIONS: Mapping[str, str] = {
    "pins": "another key or certificate of a peer",
    "agreement": "an agreement with less privacy",
    "release": "the release of a model",
    "promote": "another model that decides",
    "purge": "the destruction of keys and data",
    "approver": "another list of approvers",
}

"""The active party calls its peers."""

from __future__ import annotations

from contextlib import suppress

from vfl.errors import AgreementError, VflError
from vfl.net.client import Dialled
from vfl.party.runs import RunFolder
from vfl.party.standing import Standing
from vfl.seat import RunFile


def dial(who: Standing, peer: str) -> Dialled:
    """A connection to a peer, with the keys and cards of now. Raises AgreementError if it is not trusted."""
    known = who.trusted().get(peer)
    if known is None:
        raise AgreementError(f"{peer} is not trusted here", remedy="trust its card: tallystick party trust CARD")
    return Dialled(who.name, who.tls(), known, who.connect)


def tell_the_end(who: Standing, folder: RunFolder) -> None:
    """Tell the peers why the run has ended, as far as they can be reached: the others give it up when nobody dials."""
    why = folder.status().reason
    for member in RunFile.read(folder.path, needs=()).agreement.passives:
        with suppress(VflError), dial(who, member.name) as there:
            there.withdraw(folder.run, why)

"""A passive party none of whose features stays on the scorecard goes on to witness the others' rounds.

    active                                          passive
    at the end of each round of the fit
    RoundOver   whether it was the last one      -->
    both sign their ledgers, and cosign each other's

Whoever takes part in a run is shown at every boundary what the others cosigned of the active party's ledger. Where one
of them stayed away, it could be shown another ledger than they.

Source: none; see `vfl.notary` for what is cosigned.

Learns:  active  -> nothing
         passive -> how many rounds the fit of the others took
Cost:    1 message and 1 cosignature each way a round
"""

from __future__ import annotations

from vfl.channel import Channel
from vfl.wire import Message, require


class RoundOver(Message, frozen=True):
    """A round of the others is over."""

    last: bool


async def active(passive: Channel, step: int, *, last: bool) -> None:
    """Tell a passive without features that round `step` is over, and end it with it."""
    passive.enter("fit", step)
    await passive.send(RoundOver(last))
    await passive.checkpoint()


async def passive(active: Channel, most: int) -> None:
    """Witness the rounds of the others, `most` at most."""
    for step in range(most):
        active.enter("fit", step)
        over = await active.recv(RoundOver)
        await active.checkpoint()
        if over.last:
            return
    require(False, f"there are at most {most} steps")

"""The network's side under attack: forged frames through real streams, altered bytes, keys that change."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from fault_proxy import FaultProxy
from forging_kit import ROUNDS, Meeting, Party, driven, forged, said
from net_kit import BANK, TELECOM, Echo, EchoGate, heard, known, made, serving

from vfl.errors import Unreachable
from vfl.net.client import Dialled
from vfl.net.pins import pin_of
from vfl.net.pump import frames_of, hang_up
from vfl.net.server import Address, PartyServer
from vfl.net.tls import Known, OwnTls
from vfl.protocols.handshake import Hello
from vfl.transport import SocketLink

EACH = 5_000  # forged frames in each direction


# ---- frames that a peer's TLS key alone does not make true -----------------------------------------------------------


class Victim(Echo):
    """A party's side whose desk stands where the next message is due: says of each frame whether it took it in."""

    def __init__(self, party: Party) -> None:
        self.party = party
        super().__init__()

    def _echo(self) -> None:
        for frame in frames_of(self._own):
            with suppress(OSError):
                self._own.sendall(b"\0\0\0\1" + (b"\1" if taken_in(self.party, frame) else b"\0"))
        self._own.close()


class Attacker(Echo):
    """Says forged frames, whatever it hears."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames
        super().__init__()

    def _echo(self) -> None:
        with suppress(OSError):
            for frame in self._frames:
                self._own.sendall(len(frame).to_bytes(4, "big") + frame)
        hang_up(self._own)
        self._own.close()


def taken_in(party: Party, frame: bytes) -> bool:
    """What the party's desk does with a frame off a stream."""
    party.inbox.append(frame)
    return driven(party.channel.recv(Hello))


def meeting(me: str) -> tuple[Meeting, Party, list[bytes]]:
    """A party for which a message is due, what an attacker says to it, and at last the honest message."""
    this, other = Meeting("run-1", True), Meeting("run-2", True)
    party = this.parties[me]
    peer = this.parties[party.peer]
    for one in (party, peer):
        one.channel.enter("train", ROUNDS)
    attacks = forged(this, other, me, random.Random(EACH))
    frames = [next(attacks)[1] for _ in range(EACH)]
    before = len(party.inbox)
    assert driven(peer.channel.send(said(peer.me, 2 * ROUNDS)))
    (honest,) = party.inbox[before:]
    del party.inbox[before:]
    return this, party, [*frames, honest]


def test_no_forged_frame_is_taken_in_by_a_service() -> None:
    """Whoever has the bank's TLS key alone gets nothing in; the honest message after that gets in."""
    _, party, frames = meeting("telecom")
    gate = EchoGate([known("bank", BANK)], make=lambda: Victim(party))
    ours, theirs = socket.socketpair()
    with serving(gate) as telecom, Dialled("bank", BANK, telecom) as there:
        stream = there.stream("run-1", 1, theirs)
        link = SocketLink(ours, "telecom")
        for frame in frames:
            link.push(frame)
        answers = heard(link, EACH)
        assert answers == [b"\0"] * EACH
        assert heard(link, 1) == [b"\1"], "the honest message"
        link.close()
        assert stream.ended(5.0) is None


def test_no_forged_frame_of_a_service_is_taken_in() -> None:
    _, party, frames = meeting("bank")
    gate = EchoGate([known("bank", BANK)], make=lambda: Attacker(frames))
    ours, theirs = socket.socketpair()
    with serving(gate) as telecom, Dialled("bank", BANK, telecom) as there:
        there.stream("run-1", 1, theirs)
        taken = [taken_in(party, frame) for frame in frames_of(ours)]
    ours.close()
    assert taken == [False] * EACH + [True]


# ---- bytes that something on the way alters --------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_what_is_altered_on_the_way_is_never_an_answer(calls: int) -> None:
    """A bit in every few chunks: TLS ends the connection; nothing altered is heard on either side."""
    gate = EchoGate([known("bank", BANK)])
    lost = 0
    with serving(gate) as telecom:
        at = Address.parse(telecom.address)
        with FaultProxy(at.host, at.port, 1, flip=0.1) as network:
            there = replace(telecom, address=network.address)
            for number in range(calls):
                try:
                    with Dialled("bank", BANK, there, 5.0) as dialled:
                        dialled.offer(b"offer %d" % number)
                        assert dialled.health() == b"well"
                except Unreachable:
                    lost += 1
    assert network.happened["flip"] >= lost > calls // 10, "it was altered, and that was noticed"
    assert lost < calls, "whatever was not altered gets through"
    assert {offer for _, offer in gate.heard} <= {f"offer {number}" for number in range(calls)}


# ---- keys and pins that change while others call ---------------------------------------------------------------------


class Changing:
    """Bank and telecom, whose keys change again and again: first the cards of the others, then the key in use."""

    def __init__(self) -> None:
        self.own, self.banks = [TELECOM], [BANK]
        self.gate = EchoGate([known("bank", BANK)])
        self.server = PartyServer(Address("127.0.0.1", 0), lambda: self.own[-1], self.gate)
        self.telecom = replace(known("telecom", TELECOM), address=str(self.server.address))

    def change(self, everybody_has_the_cards: Callable[[], None]) -> None:
        new, newer = made("telecom"), made("bank")
        self.telecom = card("telecom", [*self.own[-2:], new], str(self.server.address))
        self.gate.trusted[:] = [card("bank", [*self.banks[-2:], newer])]
        assert self.server.refresh()
        everybody_has_the_cards()
        self.own.append(new)
        assert self.server.refresh()
        self.banks.append(newer)


def card(name: str, owns: list[OwnTls], address: str = "") -> Known:
    """A party with several certificates that count."""
    pems = tuple(own.certificate for own in owns)
    return Known(name, address, pems, frozenset(map(pin_of, pems)))


@pytest.mark.parametrize("changes", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_no_good_call_fails_while_keys_and_pins_change(changes: int) -> None:
    """Cards reach the others before keys are used, as the guide asks for; for the rest everything happens at once."""
    world, ended, done, failed = Changing(), threading.Event(), [0] * 3, []
    world.server.start()

    def calling(who: int) -> None:
        while not ended.is_set():
            try:
                with Dialled("bank", world.banks[-1], world.telecom, 5.0) as there:
                    assert there.health() == b"well"
                    done[who] += 1
            except Exception as error:
                failed.append(error)

    def all_called_anew() -> None:
        before = list(done)
        while not failed and not all(now >= then + 2 for now, then in zip(done, before, strict=True)):
            time.sleep(0.001)

    callers = [threading.Thread(target=calling, args=(who,)) for who in range(3)]
    ours, theirs = socket.socketpair()
    try:
        with Dialled("bank", BANK, world.telecom) as there:
            stream, link = there.stream("r1", 1, theirs), SocketLink(ours, "telecom")
            for caller in callers:
                caller.start()
            for number in range(changes):
                world.change(all_called_anew)
                link.push(b"%d" % number)
                assert heard(link, 1) == [b"%d" % number], "a stream outlives every change"
            ended.set()
            for caller in callers:
                caller.join()
            link.close()
            assert stream.ended(5.0) is None
    finally:
        ended.set()
        world.server.stop(0)
    assert failed == []
    assert min(done) >= 2 * changes
    with pytest.raises(Unreachable), Dialled("bank", BANK, world.telecom, 5.0) as there:
        there.health()  # keys of long ago are strangers'

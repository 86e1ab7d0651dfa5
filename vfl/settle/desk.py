"""All parties of a simulated run at one desk: each with its keys, its settlement ledger and its copy of the contract.

What a party does is a call in its own ledger; at the end of a turn the label owner puts the calls in order, everybody
plays them, says what came of them and cosigns. Signatures that the contract wants of several are collected here, as
parties that agree would send them to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger.entry import Entry
from ledger.policy import Policy
from vfl.clock import Clock
from vfl.errors import UsageError
from vfl.randomness import Randomness
from vfl.seat import RunFile, identity_of, policy_of, read_seed
from vfl.settle.book import CALL, GENESIS, ORDER, STATE, Books, open_books
from vfl.settle.contract.artefact import CONTRACTS, load
from vfl.settle.engines.engine import CHAIN_ID, require_chain
from vfl.settle.history import genesis_of, ordered, waiting
from vfl.settle.keys import ChainKey
from vfl.settle.penalties import Penalty
from vfl.settle.replica import Genesis, Ordered, Played, Replica, code_digest
from vfl.settlement import Settlement

_HOUR, _YEAR = 3600, 365 * 86_400
_AN_ORDER = 500  # calls, so that the entry stays within what an entry may hold
Json = dict[str, Any]


class Disagreement(UsageError):
    """Parties that played the same calls came to different states."""


class Desk:
    """Keys by party, books, and a replica each. `job`: the run under the contract."""

    def __init__(self, directory: Path, file: RunFile, books: Books, clock: Clock) -> None:
        if file.agreement.settlement is None:
            raise UsageError(
                f"the agreement of {file.run} has no clause of settlement",
                remedy="add a [settlement] table to the scenario and run it again",
            )
        self.clause: Settlement = file.agreement.settlement
        self.directory, self.file, self.books, self._clock = directory, file, books, clock
        self.parties = [member.name for member in (file.agreement.active, *file.agreement.passives)]
        self.payer = file.agreement.active.name
        self.job = sha256(f"{file.agreement.digest}/{file.run}".encode()).digest()
        self.replicas: dict[str, Replica] = {}
        if (genesis := genesis_of(self.entries(), self.payer)) is not None:
            self._check_addresses(genesis)
            self._deploy(genesis)
            self._play(ordered(self.entries(), self.payer))

    def entries(self) -> dict[str, list[Entry]]:
        """Of every party's settlement ledger."""
        return {party: list(self.books[party].log.entries()) for party in self.parties}

    @property
    def policy(self) -> Policy:
        """The keys of the parties."""
        return policy_of(self.file)

    @property
    def replica(self) -> Replica:
        """The label owner's. Raises UsageError before there is a contract."""
        if not self.replicas:
            raise UsageError("there is no contract yet", remedy="tallystick settle open RUN")
        return self.replicas[self.payer]

    def key(self, party: str) -> ChainKey:
        """A party's key on the chain."""
        return ChainKey.of(Randomness(read_seed(self.directory / party)))

    # -- the contract ------------------------------------------------------------------------------------------------

    def begin(self, chain_id: int = CHAIN_ID) -> None:
        """Deploy the contract: its parameters go on record first. Raises UsageError if there is one.

        `chain_id`: what signatures are bound to; that of a chain where the contract is to be as well.
        """
        require_chain()
        if self.replicas:
            raise UsageError("the contract is there already", remedy="see `tallystick settle show RUN`")
        addresses = {party: self.key(party).address for party in self.parties}
        genesis = Genesis(
            job=self.job.hex(), chain_id=chain_id, time=int(self._clock.now().timestamp()), addresses=addresses,
            members=sorted(addresses.values(), key=lambda one: int(one, 16)), threshold=len(addresses) // 2 + 1,
            operator=addresses[self.payer], respond_seconds=_HOUR * self.clause.respond_hours,
            dispute_seconds=_HOUR * self.clause.dispute_hours,
            code={name: code_digest(load(name)) for name in CONTRACTS},
        )  # fmt: skip
        self.books.leader.note(GENESIS, genesis.to_json())
        self._deploy(genesis)

    def open_job(self) -> None:
        """Register everybody, book their stakes, and open the job that all sign; one turn."""
        for party in self.parties:
            terms: Json = {
                "party": self._address(party), "name": party,
                "ledgerKey": self.file.keys[party].identity.public,
                "entity": sha256(self.clause.entity(party).encode()).digest(),
            }  # fmt: skip
            self.call(self.payer, "register", *terms.values(), self._signed("Register", terms | {"version": 1}))
            self.deposit(party, self.clause.stake, f"{self.file.run}/stake/{party}")
        job: Json = {
            "job": self.job, "run": self.file.run, "parties": [self._address(party) for party in self.parties],
            "runKeys": [self._run_key(party) for party in self.parties], "stake": self.clause.stake,
            "payer": self._address(self.payer), "quorum": len(self.parties) // 2 + 1,
            "deadline": int(self._clock.now().timestamp()) + self._open_for(),
        }  # fmt: skip
        self.call(self.payer, "openJob", *job.values(), self._signed("OpenJob", job))
        self.must(self.turn())

    def deposit(self, party: str, amount: int, reference: str) -> None:
        """The label owner's bank books what it received for a party. `reference`: of the payment, once."""
        self.call(self.payer, "deposit", self._address(party), amount, sha256(reference.encode()).digest())

    def anchor(self, origin: str, size: int, root: bytes) -> None:
        """Fix the head of a log of the run, which all have cosigned."""
        head: Json = {"job": self.job, "origin": origin, "size": size, "root": root}
        self.call(self.payer, "anchor", *head.values(), self._signed("Head", head))

    def agree_shares(self, period: int, ppm: Sequence[int], digest: str) -> None:
        """All parties sign the shares of a period: they are final at once."""
        terms: Json = {"job": self.job, "period": period, "ppm": list(ppm), "digest": bytes.fromhex(digest)}
        self.call(self.payer, "agreeShares", *terms.values(), self._signed("Shares", terms))

    def distribute(self, period: int, amount: int) -> None:
        """Pay a period's revenue from the label owner's credit."""
        self.call(self.payer, "distribute", self.job, period, amount)

    def withdraw(self, party: str, amount: int) -> None:
        """Turn credit into a line of the settlement file."""
        self.call(party, "withdraw", amount)

    def slash(self, reporter: str, penalty: Penalty) -> None:
        """Take the stake of whom evidence accuses."""
        self.call(reporter, penalty.function, self.job, self._address(penalty.proven.party), *penalty.values)

    def call(self, party: str, function: str, *values: Any) -> None:
        """Put a call in a party's ledger; it is played in the next turn."""
        data = self.replica.calls.encode(function, *values)
        self.books[party].note(CALL, {"function": function, "data": data.hex()})

    def turn(self) -> list[Played]:
        """Put the calls that wait in order, play them at every party, have all say what came of it and cosign.

        Raises Disagreement where two parties say different things; both are on record then.
        """
        self.books.commit()
        due, calls = waiting(self.entries(), self.payer), list[Ordered]()
        for first in range(0, len(due), _AN_ORDER):
            some = due[first : first + _AN_ORDER]
            order = self.books.leader.note(ORDER, {"calls": [[entry.actor, entry.seq] for entry in some]})
            calls += [Ordered(entry, order) for entry in some]
        played = self._play(calls)
        for party, replica in self.replicas.items():
            self.books[party].note(STATE, {"calls": len(replica.played), "digest": replica.digest})
        self.books.countersign()
        self._check_states()
        return played

    @property
    def unfinished(self) -> bool:
        """Whether a turn was killed: calls wait, or something is not cosigned."""
        return bool(waiting(self.entries(), self.payer)) or not self.books.countersigned

    @staticmethod
    def must(played: Sequence[Played]) -> Sequence[Played]:
        """Raise UsageError for the first call that the contract refused."""
        for one in played:
            if not one.ok:
                raise UsageError(f"the contract refuses {one.function} of {one.party}: {one.reason}")
        return played

    # -- how it is done ----------------------------------------------------------------------------------------------

    def _deploy(self, genesis: Genesis) -> None:
        require_chain()
        self.replicas = {party: Replica(genesis) for party in self.parties}

    def _play(self, calls: Sequence[Ordered]) -> list[Played]:
        """At every party, each by itself; what came of them at the label owner's."""
        return {party: [replica.play(one) for one in calls] for party, replica in self.replicas.items()}[self.payer]

    def _check_states(self) -> None:
        by_digest: dict[str, list[str]] = {}
        for party, replica in self.replicas.items():
            by_digest.setdefault(replica.digest, []).append(party)
        if len(by_digest) > 1:
            said = "; ".join(f"{', '.join(parties)}: {digest:.16}.." for digest, parties in by_digest.items())
            raise Disagreement(
                f"after {len(self.replica.played)} calls the parties come to different states ({said})",
                remedy="all are on record; `tallystick settle check` plays the calls again and says whose is wrong",
            )

    def _check_addresses(self, genesis: Genesis) -> None:
        """Each party, of its own: whoever has another's address signs in its place."""
        for party in self.parties:
            if genesis.addresses.get(party) != self.key(party).address:
                raise UsageError(
                    f"the contract names {genesis.addresses.get(party)} for {party}, whose key has another address",
                    remedy="begin a contract with everybody's own address; who put this one on record signed it",
                )

    def _address(self, party: str) -> str:
        return self.replica.genesis.addresses[party]

    def _run_key(self, party: str) -> bytes:
        identity = identity_of(party, read_seed(self.directory / party))
        return identity.entry_key(self.file.run).public

    def _signed(self, kind: str, message: Json) -> list[bytes]:
        """By all parties, in the order of their addresses."""
        contract, chain = self.replica.contract.address, self.replica.genesis.chain_id
        everybody = sorted(self.parties, key=lambda party: int(self._address(party), 16))
        return [self.key(party).sign(kind, message, chain, contract) for party in everybody]

    def _open_for(self) -> int:
        """Seconds until stakes may return: to the end of the agreement, or a year."""
        if self.file.agreement.contract is None:
            return _YEAR
        last = date.fromisoformat(self.file.agreement.contract.expires)
        end = datetime(last.year, last.month, last.day, tzinfo=self._clock.now().tzinfo)
        return max(_HOUR, int((end - self._clock.now()).total_seconds()) + 86_400)


@contextmanager
def at_desk(directory: Path, file: RunFile, clock: Clock) -> Iterator[Desk]:
    """The desk of a simulated run. Raises UsageError."""
    with open_books(directory, file, clock) as books:
        yield Desk(directory, file, books, clock)


def balances(desk: Desk) -> Mapping[str, Mapping[str, int]]:
    """Credit and stake by party."""
    credits, stakes = desk.replica.credits(), desk.replica.stakes(desk.job)
    return {party: {"credit": credits[party], "stake": stakes[party]} for party in desk.parties}

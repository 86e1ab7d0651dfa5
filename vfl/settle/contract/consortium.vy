# pragma version ==0.4.3
# pragma evm-version london
"""
@title The contract of a consortium: stakes, evidence, shares and payments between the parties of joint runs
@notice Parties lock a stake for each job and lose it to the others when two things they signed cannot both be true, or
    when they stay silent. Shares of revenue become final by agreement, by time or by vote; payments follow them.
@dev Amounts are minor units of one currency that the settlement bank books against real money; the chain's own coin is
    never moved, nothing is called but the stateless checker of ledger signatures, and nothing can be changed later.
    Always: credits + stakes == deposited - withdrawn. Signatures are EIP-712 over this chain and this contract.
"""

import apportioning
import events
import ledger_signatures
import must
import statements

flag Stage:
    STANDING
    DISPUTED
    FINAL

struct Party:
    name: String[63]
    ledgerKey: bytes32  # Ed25519, signs the heads of the party's logs
    entity: bytes32  # the legal entity, as a digest
    version: uint256  # of this registration, from 1

struct Job:
    run: String[63]
    parties: DynArray[address, MAX_PARTIES]
    payer: address
    stake: uint256
    quorum: uint256  # signers of an anchor
    deadline: uint256  # before which stakes do not return
    challenges: uint256  # that are not answered
    closed: bool

struct Seat:
    place: uint256  # in the job's list, from 1; 0 is nobody's
    stake: uint256
    punished: bool
    name: String[63]
    ledgerKey: bytes32
    runKey: bytes32  # Ed25519, signs the party's envelopes in this run

struct Challenge:
    challenger: address
    due: uint256
    open: bool
    digest: bytes32

struct Proposal:
    stage: Stage
    until: uint256
    ppm: DynArray[uint256, MAX_PARTIES]
    digest: bytes32
    paid: bool

struct Head:
    size: uint256
    root: bytes32

MAX_PARTIES: constant(uint256) = 16
MILLION: constant(uint256) = 1_000_000
MAX_AMOUNT: constant(uint256) = 2**128
SIGNATURES: immutable(ledger_signatures.__interface__)
operator: public(immutable(address))  # the settlement bank
threshold: public(immutable(uint256))  # of members, for what the consortium decides
responseWindow: public(immutable(uint256))  # seconds to answer a challenge
disputeWindow: public(immutable(uint256))  # seconds to dispute shares, and again to uphold them

members: public(HashMap[address, bool])
parties: public(HashMap[address, Party])
named: public(HashMap[String[63], address])
credit: public(HashMap[address, uint256])
deposited: public(uint256)
withdrawn: public(uint256)
withdrawals: public(uint256)  # lines of the settlement file so far
booked: public(HashMap[bytes32, bool])
jobs: public(HashMap[bytes32, Job])
seats: public(HashMap[bytes32, HashMap[address, Seat]])
sat: HashMap[address, HashMap[String[63], bool]]  # party, run: its run key speaks for one job only
heads: public(HashMap[bytes32, HashMap[String[127], Head]])
challenges: public(HashMap[bytes32, HashMap[address, HashMap[String[200], Challenge]]])
asking: HashMap[bytes32, HashMap[address, HashMap[address, bool]]]  # job, challenger, accused
proposals: public(HashMap[bytes32, HashMap[uint256, Proposal]])


@deploy
def __init__(
    members: DynArray[address, MAX_PARTIES], threshold_: uint256, operator_: address, responseWindow_: uint256,
    disputeWindow_: uint256, signatures: address
):
    """
    @param members The chain keys that decide for the consortium, ascending.
    @param threshold_ How many of them it takes.
    @param operator_ The settlement bank, which books deposits.
    @param responseWindow_ Seconds to answer a challenge.
    @param disputeWindow_ Seconds to dispute proposed shares.
    @param signatures The deployed ledger_signatures.vy.
    """
    must.hold(0 < threshold_ and threshold_ <= len(members), "threshold: not from 1 to all")
    must.hold(operator_ != empty(address) and signatures.is_contract, "operator or signatures: no such account")
    must.hold(responseWindow_ > 0 and disputeWindow_ > 0, "windows: empty")
    last: address = empty(address)
    for member: address in members:
        must.hold(convert(member, uint160) > convert(last, uint160), "members: not in ascending order")
        self.members[member] = True
        last = member
    threshold = threshold_
    operator = operator_
    responseWindow = responseWindow_
    disputeWindow = disputeWindow_
    SIGNATURES = ledger_signatures.__interface__(signatures)


# Parties and their money


@external
def register(
    party: address, name: String[63], ledgerKey: bytes32, entity: bytes32, signatures: DynArray[Bytes[65], MAX_PARTIES]
):
    """
    @notice Link a chain key to a party's name, ledger key and legal entity, or replace the latter two.
    @param signatures Of the members, over Register with the version that follows the registered one.
    """
    must.hold(party != empty(address), "party: the zero address")
    must.hold(staticcall SIGNATURES.validName(name), "name: not that of a party")
    must.hold(staticcall SIGNATURES.validKey(ledgerKey), "ledgerKey: no usable Ed25519 key")
    version: uint256 = self.parties[party].version + 1
    must.hold(version == 1 or self.parties[party].name == name, "name: the party has another")
    must.hold(self.named[name] in [empty(address), party], "name: taken")
    self._by_members(statements.registration(party, name, ledgerKey, entity, version), signatures)
    self.named[name] = party
    self.parties[party] = Party(name=name, ledgerKey=ledgerKey, entity=entity, version=version)
    log events.Registered(party=party, name=name, ledgerKey=ledgerKey, entity=entity, version=version)


@external
def deposit(party: address, amount: uint256, reference: bytes32):
    """
    @notice Book money that the settlement bank received for a party; each reference once.
    """
    must.hold(msg.sender == operator, "sender: not the operator")
    must.hold(self.parties[party].version > 0, "party: not registered")
    must.hold(0 < amount and amount < MAX_AMOUNT, "amount: not from 1 to 2**128 - 1")
    must.hold(not self.booked[reference], "reference: booked before")
    self.booked[reference] = True
    self.deposited += amount
    self.credit[party] += amount
    log events.Deposited(party=party, amount=amount, reference=reference)


@external
def withdraw(amount: uint256):
    """
    @notice Turn credit into a numbered line of the settlement file, which the bank pays out.
    """
    must.hold(amount > 0, "amount: nothing")
    self._spend(msg.sender, amount)
    self.withdrawn += amount
    self.withdrawals += 1
    log events.Withdrawn(
        number=self.withdrawals, party=msg.sender, entity=self.parties[msg.sender].entity, amount=amount
    )


# Jobs and their logs


@external
def openJob(
    job: bytes32, run: String[63], parties: DynArray[address, MAX_PARTIES], runKeys: DynArray[bytes32, MAX_PARTIES],
    stake: uint256, payer: address, quorum: uint256, deadline: uint256, signatures: DynArray[Bytes[65], MAX_PARTIES]
):
    """
    @notice Begin a job that all its parties signed; each locks the stake.
    @param job The digest of the agreement.
    @param run The name of the run in the ledger.
    @param runKeys The Ed25519 key with which each party signs its envelopes in this run.
    @param signatures Of all parties, over OpenJob.
    """
    count: uint256 = len(parties)
    must.hold(len(self.jobs[job].parties) == 0, "job: opened before")
    must.hold(staticcall SIGNATURES.validName(run), "run: not the name of a run")
    must.hold(count > 1 and len(runKeys) == count, "parties: too few, or not a key each")
    must.hold(0 < quorum and quorum <= count, "quorum: not from 1 to all")
    must.hold(deadline > block.timestamp, "deadline: past")
    for i: uint256 in range(count, bound=MAX_PARTIES):
        self._seat(job, run, parties[i], runKeys[i], stake, i + 1)
    must.hold(self._takes_part(job, payer), "payer: not a party of the job")
    terms: bytes32 = statements.job(job, run, parties, runKeys, stake, payer, quorum, deadline)
    must.hold(self._by_parties(job, terms, signatures) == count, "signatures: not of all parties")
    self.jobs[job] = Job(
        run=run, parties=parties, payer=payer, stake=stake, quorum=quorum, deadline=deadline, challenges=0, closed=False
    )
    log events.JobOpened(
        job=job, run=run, parties=parties, stake=stake, payer=payer, quorum=quorum, deadline=deadline
    )


@external
def anchor(
    job: bytes32, origin: String[127], size: uint256, root: bytes32, signatures: DynArray[Bytes[65], MAX_PARTIES]
):
    """
    @notice Fix the head of a log, larger than the last one.
    @param signatures Of a quorum of the job's parties, over Head.
    """
    self._check_open(job)
    must.hold(size > self.heads[job][origin].size, "size: does not grow")
    signers: uint256 = self._by_parties(job, statements.head(job, origin, size, root), signatures)
    must.hold(signers >= self.jobs[job].quorum, "signatures: less than the quorum")
    self.heads[job][origin] = Head(size=size, root=root)
    log events.Anchored(job=job, origin=origin, size=size, root=root, signers=signers)


@external
def closeJob(job: bytes32):
    """
    @notice Return the stakes, after the deadline and when no challenge is open. Anyone may call.
    """
    self._check_open(job)
    must.hold(block.timestamp > self.jobs[job].deadline, "job: its deadline has not passed")
    must.hold(self.jobs[job].challenges == 0, "job: a challenge is open")
    self.jobs[job].closed = True
    for party: address in self.jobs[job].parties:
        self.credit[party] += self.seats[job][party].stake
        self.seats[job][party].stake = 0
    log events.JobClosed(job=job)


# Evidence: two signed things that cannot both be true. Anyone may bring it, and no judge is asked.


@external
def slashConflict(
    job: bytes32, slot: String[200], digest1: bytes32, signature1: Bytes[65], digest2: bytes32, signature2: Bytes[65]
):
    """
    @notice One chain key signed two digests for one slot (Statement, as `respond` takes it).
    """
    must.hold(digest1 != digest2, "evidence: one digest twice")
    accused: address = statements.signer(statements.statement(job, slot, digest1), signature1)
    other: address = statements.signer(statements.statement(job, slot, digest2), signature2)
    must.hold(accused == other, "evidence: two signers")
    self._slash(job, accused, msg.sender, "conflict")


@external
def slashFork(
    job: bytes32, origin: String[127], size: uint256,
    root1: bytes32, signature1: Bytes[65], root2: bytes32, signature2: Bytes[65]
):
    """
    @notice One chain key signed two roots for one log and size (Head, as `anchor` takes it).
    """
    must.hold(root1 != root2, "evidence: one root twice")
    accused: address = statements.signer(statements.head(job, origin, size, root1), signature1)
    other: address = statements.signer(statements.head(job, origin, size, root2), signature2)
    must.hold(accused == other, "evidence: two signers")
    self._slash(job, accused, msg.sender, "fork")


@external
def slashNotes(
    job: bytes32, accused: address, size: uint256,
    root1: bytes32, signature1: bytes32[2], root2: bytes32, signature2: bytes32[2]
):
    """
    @notice The accused's ledger key signed two checkpoints of its log of this run, with one size and two roots.
    """
    must.hold(root1 != root2, "evidence: one root twice")
    self._check_note(job, accused, size, root1, signature1)
    self._check_note(job, accused, size, root2, signature2)
    self._slash(job, accused, msg.sender, "notes")


@external
def slashEnvelopes(
    job: bytes32, accused: address,
    first: ledger_signatures.Envelope, signature1: bytes32[2],
    second: ledger_signatures.Envelope, signature2: bytes32[2]
):
    """
    @notice The accused's run key signed two envelopes for one slot that differ in anything.
    """
    must.hold(keccak256(first.slot) == keccak256(second.slot), "evidence: two slots")
    said: bytes32 = self._check_envelope(job, accused, first, signature1)
    must.hold(said != self._check_envelope(job, accused, second, signature2), "evidence: one envelope twice")
    self._slash(job, accused, msg.sender, "envelopes")


@external
def slashAnswer(job: bytes32, accused: address, envelope: ledger_signatures.Envelope, signature: bytes32[2]):
    """
    @notice The accused's run key signed an envelope for a slot, and its chain key another digest as an answer.
    """
    answer: Challenge = self.challenges[job][accused][envelope.slot]
    must.hold(answer.due > 0 and not answer.open, "challenge: not answered")
    must.hold(len(envelope.digest) == 64, "evidence: not a digest to answer with")
    given: String[64] = staticcall SIGNATURES.hexadecimal(answer.digest)
    must.hold(keccak256(given) != keccak256(envelope.digest), "evidence: answered as said")
    self._check_envelope(job, accused, envelope, signature)
    self._slash(job, accused, msg.sender, "answer")


# Silence: who is asked in public and does not answer


@external
def challenge(job: bytes32, slot: String[200], accused: address):
    """
    @notice Ask a party what it said at a slot. One open question at a time between two parties, each slot once.
    """
    self._check_accused(job, accused)
    must.hold(self._takes_part(job, msg.sender), "sender: not a party of the job")
    must.hold(not self.seats[job][msg.sender].punished, "sender: punished before")
    must.hold(msg.sender != accused, "accused: the sender")
    must.hold(block.timestamp < self.jobs[job].deadline, "job: its deadline has passed")
    must.hold(not self.asking[job][msg.sender][accused], "challenge: another is open")
    must.hold(self.challenges[job][accused][slot].due == 0, "challenge: made before")
    due: uint256 = block.timestamp + responseWindow
    self.challenges[job][accused][slot] = Challenge(
        challenger=msg.sender, due=due, open=True, digest=empty(bytes32)
    )
    self.asking[job][msg.sender][accused] = True
    self.jobs[job].challenges += 1
    log events.Challenged(job=job, accused=accused, challenger=msg.sender, slot=slot, due=due)


@external
def respond(job: bytes32, slot: String[200], accused: address, digest: bytes32, signature: Bytes[65]):
    """
    @notice Answer a challenge, late ones too until `timeout` is called. Anyone may carry the answer.
    @param digest Of what the party said at the slot; zero when it said nothing.
    @param signature Of the accused, over Statement.
    """
    signer: address = statements.signer(statements.statement(job, slot, digest), signature)
    must.hold(signer == accused, "signature: not of the accused")
    self._end_challenge(job, accused, slot)
    self.challenges[job][accused][slot].digest = digest
    log events.Answered(job=job, accused=accused, slot=slot, digest=digest)


@external
def timeout(job: bytes32, slot: String[200], accused: address):
    """
    @notice End a challenge that was not answered in time: the accused loses its stake. Anyone may call.
    """
    self._end_challenge(job, accused, slot)
    found: Challenge = self.challenges[job][accused][slot]
    must.hold(block.timestamp > found.due, "challenge: may still be answered")
    if not self.seats[job][accused].punished:  # nobody is punished twice, and the job can be closed all the same
        self._slash(job, accused, found.challenger, "silence")


# Shares and payments


@external
def proposeShares(job: bytes32, period: uint256, ppm: DynArray[uint256, MAX_PARTIES], digest: bytes32):
    """
    @notice Propose who earns what in a period; it becomes final when nobody of the job disputes it in time.
    @param ppm Millionths for each party, in the job's order; they sum to 1,000,000.
    @param digest Of the evaluation that the shares follow from.
    """
    self._check_shares(job, ppm)
    must.hold(self._takes_part(job, msg.sender), "sender: not a party of the job")
    old: Proposal = self.proposals[job][period]
    fallen: bool = old.stage == Stage.DISPUTED and block.timestamp > old.until
    must.hold(old.stage == empty(Stage) or fallen, "shares: proposed before")
    until: uint256 = block.timestamp + disputeWindow
    self.proposals[job][period] = Proposal(
        stage=Stage.STANDING, until=until, ppm=ppm, digest=digest, paid=False
    )
    log events.SharesProposed(job=job, period=period, proposer=msg.sender, ppm=ppm, digest=digest, until=until)


@external
def agreeShares(
    job: bytes32, period: uint256, ppm: DynArray[uint256, MAX_PARTIES], digest: bytes32, signatures: DynArray[Bytes[65],
    MAX_PARTIES]
):
    """
    @notice Shares that all parties of the job signed are final at once.
    @param signatures Of all parties, over Shares.
    """
    self._check_shares(job, ppm)
    must.hold(self.proposals[job][period].stage != Stage.FINAL, "shares: final")
    terms: bytes32 = statements.shares(job, period, ppm, digest, False)
    must.hold(self._by_parties(job, terms, signatures) == len(ppm), "signatures: not of all parties")
    self._settle(job, period, ppm, digest)


@external
def dispute(job: bytes32, period: uint256):
    """
    @notice Stop proposed shares. They fall unless the members uphold them in the window that follows.
    """
    must.hold(self._takes_part(job, msg.sender), "sender: not a party of the job")
    proposal: Proposal = self.proposals[job][period]
    must.hold(proposal.stage == Stage.STANDING, "shares: nothing to dispute")
    must.hold(block.timestamp <= proposal.until, "shares: too late to dispute")
    until: uint256 = block.timestamp + disputeWindow
    self.proposals[job][period].stage = Stage.DISPUTED
    self.proposals[job][period].until = until
    log events.SharesDisputed(job=job, period=period, by=msg.sender, until=until)


@external
def uphold(job: bytes32, period: uint256, signatures: DynArray[Bytes[65], MAX_PARTIES]):
    """
    @notice Make disputed shares final.
    @param signatures Of the members, over Uphold.
    """
    proposal: Proposal = self.proposals[job][period]
    must.hold(proposal.stage == Stage.DISPUTED, "shares: not disputed")
    must.hold(block.timestamp <= proposal.until, "shares: fallen")
    self._by_members(statements.shares(job, period, proposal.ppm, proposal.digest, True), signatures)
    self._settle(job, period, proposal.ppm, proposal.digest)


@external
def finalise(job: bytes32, period: uint256):
    """
    @notice Make shares final that nobody disputed in time. Anyone may call.
    """
    proposal: Proposal = self.proposals[job][period]
    must.hold(proposal.stage == Stage.STANDING, "shares: none stand")
    must.hold(block.timestamp > proposal.until, "shares: may still be disputed")
    self._settle(job, period, proposal.ppm, proposal.digest)


@external
def distribute(job: bytes32, period: uint256, amount: uint256):
    """
    @notice Pay a period's revenue from the payer's credit by its final shares: once, to the last unit.
    """
    must.hold(msg.sender == self.jobs[job].payer, "sender: not the payer")
    proposal: Proposal = self.proposals[job][period]
    must.hold(proposal.stage == Stage.FINAL, "shares: not final")
    must.hold(not proposal.paid, "period: paid before")
    self.proposals[job][period].paid = True
    self._spend(msg.sender, amount)
    log events.Distributed(job=job, period=period, payer=msg.sender, amount=amount)
    payments: DynArray[uint256, MAX_PARTIES] = apportioning.largest_remainders(amount, proposal.ppm)
    for i: uint256 in range(len(payments), bound=MAX_PARTIES):
        party: address = self.jobs[job].parties[i]
        self.credit[party] += payments[i]
        log events.Paid(job=job, period=period, party=party, amount=payments[i])


# How it is done


@internal
def _seat(job: bytes32, run: String[63], address_: address, run_key: bytes32, stake: uint256, place: uint256):
    party: Party = self.parties[address_]
    must.hold(party.version > 0, "parties: one is not registered")
    must.hold(self.seats[job][address_].place == 0, "parties: one is named twice")
    must.hold(not self.sat[address_][run], "run: a party took part before")
    must.hold(staticcall SIGNATURES.validKey(run_key), "runKeys: no usable Ed25519 key")
    self._spend(address_, stake)
    self.sat[address_][run] = True
    self.seats[job][address_] = Seat(
        place=place, stake=stake, punished=False, name=party.name, ledgerKey=party.ledgerKey, runKey=run_key
    )


@internal
def _spend(party: address, amount: uint256):
    must.hold(self.credit[party] >= amount, "credit: too small")
    self.credit[party] -= amount


@internal
def _slash(job: bytes32, accused: address, reporter: address, ground: String[9]):
    """
    @notice Half the stake to the reporter, when it is another party of the job, the rest to all others in equal parts;
        units that remain go to the first in the job's order.
    """
    self._check_accused(job, accused)
    amount: uint256 = self.seats[job][accused].stake
    self.seats[job][accused].stake = 0
    self.seats[job][accused].punished = True
    log events.Slashed(job=job, accused=accused, reporter=reporter, ground=ground, amount=amount)
    rewarded: bool = reporter != accused and self._takes_part(job, reporter)
    reward: uint256 = amount // 2 if rewarded else 0
    parties: DynArray[address, MAX_PARTIES] = self.jobs[job].parties
    each: uint256 = (amount - reward) // (len(parties) - 1)
    left: uint256 = (amount - reward) % (len(parties) - 1)
    for party: address in parties:
        if party == accused:
            continue
        payment: uint256 = each + (reward if party == reporter else 0)
        if left > 0:
            payment += 1
            left -= 1
        self.credit[party] += payment
        log events.Compensated(job=job, party=party, amount=payment)


@internal
def _end_challenge(job: bytes32, accused: address, slot: String[200]):
    found: Challenge = self.challenges[job][accused][slot]
    must.hold(found.open, "challenge: none is open")
    self.challenges[job][accused][slot].open = False
    self.asking[job][found.challenger][accused] = False
    self.jobs[job].challenges -= 1


@internal
def _settle(job: bytes32, period: uint256, ppm: DynArray[uint256, MAX_PARTIES], digest: bytes32):
    self.proposals[job][period] = Proposal(stage=Stage.FINAL, until=0, ppm=ppm, digest=digest, paid=False)
    log events.SharesFinal(job=job, period=period, ppm=ppm, digest=digest)


@internal
@view
def _check_open(job: bytes32):
    must.hold(len(self.jobs[job].parties) > 0, "job: unknown")
    must.hold(not self.jobs[job].closed, "job: closed")


@internal
@view
def _takes_part(job: bytes32, party: address) -> bool:
    return self.seats[job][party].place > 0


@internal
@view
def _check_accused(job: bytes32, accused: address):
    self._check_open(job)
    must.hold(self._takes_part(job, accused), "accused: not a party of the job")
    must.hold(not self.seats[job][accused].punished, "accused: punished before")


@internal
@view
def _check_note(job: bytes32, accused: address, size: uint256, root: bytes32, signature: bytes32[2]):
    self._check_accused(job, accused)
    fits: bool = staticcall SIGNATURES.signedHead(
        self.seats[job][accused].ledgerKey, self.seats[job][accused].name, self.jobs[job].run, size, root, signature[0],
        signature[1]
    )
    must.hold(fits, "evidence: a signature does not fit")


@internal
@view
def _check_envelope(
    job: bytes32, accused: address, envelope: ledger_signatures.Envelope, signature: bytes32[2]
) -> bytes32:
    self._check_accused(job, accused)
    fits: bool = staticcall SIGNATURES.signedEnvelope(
        self.seats[job][accused].runKey, self.seats[job][accused].name, self.jobs[job].run, envelope, signature[0],
        signature[1]
    )
    must.hold(fits, "evidence: a signature does not fit")
    return keccak256(abi_encode(envelope))


@internal
@view
def _check_shares(job: bytes32, ppm: DynArray[uint256, MAX_PARTIES]):
    count: uint256 = len(self.jobs[job].parties)
    must.hold(count > 0 and len(ppm) == count, "shares: not one for each party")
    sum: uint256 = 0
    for share: uint256 in ppm:
        sum += share
    must.hold(sum == MILLION, "shares: do not sum to 1000000")


# Signatures (EIP-712)


@internal
@view
def _by_members(terms: bytes32, signatures: DynArray[Bytes[65], MAX_PARTIES]):
    signers: DynArray[address, MAX_PARTIES] = statements.signers(terms, signatures)
    for signer: address in signers:
        must.hold(self.members[signer], "signatures: not of a member")
    must.hold(len(signers) >= threshold, "signatures: too few members")


@internal
@view
def _by_parties(job: bytes32, terms: bytes32, signatures: DynArray[Bytes[65], MAX_PARTIES]) -> uint256:
    signers: DynArray[address, MAX_PARTIES] = statements.signers(terms, signatures)
    for signer: address in signers:
        must.hold(self._takes_part(job, signer), "signatures: not of a party of the job")
    return len(signers)

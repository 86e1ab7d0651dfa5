# pragma version ==0.4.3
# pragma evm-version london
"""
@title What the consortium's contract tells the world: one event for everything that it does
"""

MAX_PARTIES: constant(uint256) = 16

event Registered:
    party: indexed(address)
    name: String[63]
    ledgerKey: bytes32
    entity: bytes32
    version: uint256

event Deposited:
    party: indexed(address)
    amount: uint256
    reference: indexed(bytes32)

event JobOpened:
    job: indexed(bytes32)
    run: String[63]
    parties: DynArray[address, MAX_PARTIES]
    stake: uint256
    payer: address
    quorum: uint256
    deadline: uint256

event Anchored:
    job: indexed(bytes32)
    origin: String[127]
    size: uint256
    root: bytes32
    signers: uint256

event Slashed:
    job: indexed(bytes32)
    accused: indexed(address)
    reporter: indexed(address)
    ground: String[9]  # conflict, fork, notes, envelopes, answer or silence
    amount: uint256

event Compensated:
    job: indexed(bytes32)
    party: indexed(address)
    amount: uint256

event Challenged:
    job: indexed(bytes32)
    accused: indexed(address)
    challenger: indexed(address)
    slot: String[200]
    due: uint256

event Answered:
    job: indexed(bytes32)
    accused: indexed(address)
    slot: String[200]
    digest: bytes32

event SharesProposed:
    job: indexed(bytes32)
    period: indexed(uint256)
    proposer: indexed(address)
    ppm: DynArray[uint256, MAX_PARTIES]
    digest: bytes32
    until: uint256

event SharesDisputed:
    job: indexed(bytes32)
    period: indexed(uint256)
    by: indexed(address)
    until: uint256

event SharesFinal:
    job: indexed(bytes32)
    period: indexed(uint256)
    ppm: DynArray[uint256, MAX_PARTIES]
    digest: bytes32

event Distributed:
    job: indexed(bytes32)
    period: indexed(uint256)
    payer: indexed(address)
    amount: uint256

event Paid:
    job: indexed(bytes32)
    period: indexed(uint256)
    party: indexed(address)
    amount: uint256

event Withdrawn:
    number: indexed(uint256)
    party: indexed(address)
    entity: bytes32
    amount: uint256

event JobClosed:
    job: indexed(bytes32)

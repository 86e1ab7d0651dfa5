# pragma version ==0.4.3
# pragma evm-version london
"""
@title What chain keys sign for the consortium (EIP-712), and who signed it
@dev The same types stand in typed.py. A signature is good for one chain and one contract.
"""

import must

MAX_PARTIES: constant(uint256) = 16
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168
DOMAIN: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
REGISTER: constant(bytes32) = keccak256(
    "Register(address party,string name,bytes32 ledgerKey,bytes32 entity,uint256 version)"
)
OPEN_JOB: constant(bytes32) = keccak256(  # longer than a line, for a text is not broken here
    "OpenJob(bytes32 job,string run,address[] parties,bytes32[] runKeys,uint256 stake,address payer,uint256 quorum,uint256 deadline)"
)
STATEMENT: constant(bytes32) = keccak256("Statement(bytes32 job,string slot,bytes32 digest)")
LOG_HEAD: constant(bytes32) = keccak256("Head(bytes32 job,string origin,uint256 size,bytes32 root)")
SHARES: constant(bytes32) = keccak256("Shares(bytes32 job,uint256 period,uint256[] ppm,bytes32 digest)")
UPHOLD: constant(bytes32) = keccak256("Uphold(bytes32 job,uint256 period,uint256[] ppm,bytes32 digest)")


@internal
@pure
def registration(party: address, name: String[63], ledger_key: bytes32, entity: bytes32, version: uint256) -> bytes32:
    return keccak256(abi_encode(REGISTER, party, keccak256(name), ledger_key, entity, version))


@internal
@pure
def job(
    id: bytes32,
    run: String[63],
    parties: DynArray[address, MAX_PARTIES],
    run_keys: DynArray[bytes32, MAX_PARTIES],
    stake: uint256,
    payer: address,
    quorum: uint256,
    deadline: uint256,
) -> bytes32:
    size: uint256 = 32 * len(parties)
    addresses: bytes32 = keccak256(slice(abi_encode(parties), 64, size))  # elements without offset and length
    keys: bytes32 = keccak256(slice(abi_encode(run_keys), 64, size))
    return keccak256(abi_encode(OPEN_JOB, id, keccak256(run), addresses, keys, stake, payer, quorum, deadline))


@internal
@pure
def statement(job: bytes32, slot: String[200], digest: bytes32) -> bytes32:
    return keccak256(abi_encode(STATEMENT, job, keccak256(slot), digest))


@internal
@pure
def head(job: bytes32, origin: String[127], size: uint256, root: bytes32) -> bytes32:
    return keccak256(abi_encode(LOG_HEAD, job, keccak256(origin), size, root))


@internal
@pure
def shares(
    job: bytes32, period: uint256, ppm: DynArray[uint256, MAX_PARTIES], digest: bytes32, upheld: bool
) -> bytes32:
    """
    @notice What parties sign to agree on shares, or members to uphold them.
    """
    kind: bytes32 = UPHOLD if upheld else SHARES
    list: bytes32 = keccak256(slice(abi_encode(ppm), 64, 32 * len(ppm)))
    return keccak256(abi_encode(kind, job, period, list, digest))


@internal
@view
def signers(
    terms: bytes32, signatures: DynArray[Bytes[65], MAX_PARTIES]
) -> DynArray[address, MAX_PARTIES]:
    """
    @notice Who signed `terms`, each once: their addresses ascend.
    """
    found: DynArray[address, MAX_PARTIES] = []
    last: address = empty(address)
    for signature: Bytes[65] in signatures:
        by: address = self.signer(terms, signature)
        must.hold(convert(by, uint160) > convert(last, uint160), "signatures: not in ascending order")
        found.append(by)
        last = by
    return found


@internal
@view
def signer(terms: bytes32, signature: Bytes[65]) -> address:
    """
    @notice Who signed `terms` (a struct hash): r || s || v, with the low one of the two possible s.
    """
    must.hold(len(signature) == 65, "signature: not 65 bytes")
    s: uint256 = convert(slice(signature, 32, 32), uint256)
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    must.hold(s <= HALF_ORDER, "signature: high s")
    must.hold(v in [27, 28], "signature: v is not 27 or 28")
    domain: bytes32 = keccak256(
        abi_encode(DOMAIN, keccak256("Tallystick consortium"), keccak256("1"), chain.id, self)
    )
    r: uint256 = convert(slice(signature, 0, 32), uint256)
    found: address = ecrecover(keccak256(concat(x"1901", domain, terms)), v, r, s)
    must.hold(found != empty(address), "signature: by nobody")
    return found

# pragma version ==0.4.3
# pragma evm-version london
"""
@title SHA-512 (FIPS 180-4, section 6.4)
@notice The hash that Ed25519 is defined with; the EVM has SHA-256 only.
@dev A 64-bit word is kept in the low bits of a uint256. A rotation needs two copies side by side and a shift:
    rotr(x, n) == ((x << 64 | x) >> n) mod 2**64.
"""

MAX_MESSAGE: constant(uint256) = 1536
MAX_BLOCKS: constant(uint256) = 13  # of 128 bytes: the message, 0x80 and its length
WORD: constant(uint256) = 2**64 - 1
TWICE: constant(uint256) = 2**64 + 1

# The first 64 bits of the fractional parts of the cube roots of the first 80 primes,
# four words a line.
ROUND: constant(bytes32[20]) = [
    0x428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc,
    0x3956c25bf348b53859f111f1b605d019923f82a4af194f9bab1c5ed5da6d8118,
    0xd807aa98a303024212835b0145706fbe243185be4ee4b28c550c7dc3d5ffb4e2,
    0x72be5d74f27b896f80deb1fe3b1696b19bdc06a725c71235c19bf174cf692694,
    0xe49b69c19ef14ad2efbe4786384f25e30fc19dc68b8cd5b5240ca1cc77ac9c65,
    0x2de92c6f592b02754a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5,
    0x983e5152ee66dfaba831c66d2db43210b00327c898fb213fbf597fc7beef0ee4,
    0xc6e00bf33da88fc2d5a79147930aa72506ca6351e003826f142929670a0e6e70,
    0x27b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed53380d139d95b3df,
    0x650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353b,
    0xa2bfe8a14cf10364a81a664bbc423001c24b8b70d0f89791c76c51a30654be30,
    0xd192e819d6ef5218d69906245565a910f40e35855771202a106aa07032bbd1b8,
    0x19a4c116b8d2d0c81e376c085141ab532748774cdf8eeb9934b0bcb5e19b48a8,
    0x391c0cb3c5c95a634ed8aa4ae3418acb5b9cca4f7763e373682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec,
    0x90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915c67178f2e372532b,
    0xca273eceea26619cd186b8c721c0c207eada7dd6cde0eb1ef57d4f7fee6ed178,
    0x06f067aa72176fba0a637dc5a2c898a6113f9804bef90dae1b710b35131c471b,
    0x28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc431d67c49c100d4c,
    0x4cc5d4becb3e42b6597f299cfc657e2a5fcb6fab3ad6faec6c44198c4a475817,
]


@internal
@pure
def digest(message: Bytes[MAX_MESSAGE]) -> (uint256, uint256):
    """
    @notice The 64 bytes of SHA-512 as two big-endian halves.
    """
    blocks: uint256 = unsafe_add(len(message), 144) >> 7
    zero: bytes32 = empty(bytes32)
    padded: Bytes[MAX_MESSAGE + 161] = concat(message, x"80", zero, zero, zero, zero, zero)
    round: bytes32[20] = ROUND
    # The same of the square roots of the first eight primes.
    state: uint256[8] = [
        7640891576956012808, 13503953896175478587, 4354685564936845355, 11912009170470909681,
        5840696475078001361, 11170449401992604703, 2270897969802886507, 6620516959819538809,
    ]
    for n: uint256 in range(blocks, bound=MAX_BLOCKS):
        w: uint256[80] = empty(uint256[80])
        for i: uint256 in range(4):
            four: uint256 = convert(extract32(padded, unsafe_add(unsafe_mul(n, 128), unsafe_mul(i, 32))), uint256)
            at: uint256 = unsafe_mul(i, 4)
            w[at] = four >> 192
            w[unsafe_add(at, 1)] = four >> 128 & WORD
            w[unsafe_add(at, 2)] = four >> 64 & WORD
            w[unsafe_add(at, 3)] = four & WORD
        if n == unsafe_sub(blocks, 1):
            w[15] |= unsafe_mul(len(message), 8)
        for i: uint256 in range(16, 80):
            x: uint256 = unsafe_mul(w[unsafe_sub(i, 15)], TWICE)
            y: uint256 = unsafe_mul(w[unsafe_sub(i, 2)], TWICE)
            # sigma0 and sigma1: two rotations and a plain shift
            s: uint256 = unsafe_add(
                (x >> 1 ^ x >> 8) & WORD ^ (x & WORD) >> 7,
                (y >> 19 ^ y >> 61) & WORD ^ (y & WORD) >> 6,
            )
            w[i] = unsafe_add(unsafe_add(s, w[unsafe_sub(i, 16)]), w[unsafe_sub(i, 7)]) & WORD
        state = self._compress(state, w, round)
    return (
        state[0] << 192 | state[1] << 128 | state[2] << 64 | state[3],
        state[4] << 192 | state[5] << 128 | state[6] << 64 | state[7],
    )


@internal
@pure
def _compress(state: uint256[8], w: uint256[80], round: bytes32[20]) -> uint256[8]:
    a: uint256 = state[0]
    b: uint256 = state[1]
    c: uint256 = state[2]
    d: uint256 = state[3]
    e: uint256 = state[4]
    f: uint256 = state[5]
    g: uint256 = state[6]
    h: uint256 = state[7]
    for i: uint256 in range(80):
        x: uint256 = unsafe_mul(e, TWICE)
        y: uint256 = unsafe_mul(a, TWICE)
        # h + Sigma1(e) + Ch(e, f, g) + K + W, then Sigma0(a) + Maj(a, b, c)
        t: uint256 = unsafe_add(unsafe_add(h, (x >> 14 ^ x >> 18 ^ x >> 41) & WORD), e & f ^ (e ^ WORD) & g)
        k: uint256 = convert(round[i >> 2], uint256) >> unsafe_sub(192, unsafe_mul(64, i & 3)) & WORD
        t = unsafe_add(unsafe_add(t, k), w[i])
        u: uint256 = unsafe_add((y >> 28 ^ y >> 34 ^ y >> 39) & WORD, a & b ^ a & c ^ b & c)
        h = g
        g = f
        f = e
        e = unsafe_add(d, t) & WORD
        d = c
        c = b
        b = a
        a = unsafe_add(t, u) & WORD
    return [
        unsafe_add(state[0], a) & WORD,
        unsafe_add(state[1], b) & WORD,
        unsafe_add(state[2], c) & WORD,
        unsafe_add(state[3], d) & WORD,
        unsafe_add(state[4], e) & WORD,
        unsafe_add(state[5], f) & WORD,
        unsafe_add(state[6], g) & WORD,
        unsafe_add(state[7], h) & WORD,
    ]

# pragma version ==0.4.3
# pragma evm-version london
"""
@title Ed25519 signatures (RFC 8032, sections 5.1.3 and 5.1.7)
@notice Accepts what `[S]B == R + [k]A` makes of the bytes of R, without the cofactor, as OpenSSL does. Refused beyond
    that: encodings of A that are not canonical, and points A and R of small order, which fit many messages.
@dev Points are extended twisted Edwards coordinates (X : Y : Z : T), x = X/Z, y = Y/Z, xy = T/Z. The formulas of
    Hisil, Wong, Carter and Dawson (2008) for a = -1 are complete: no case needs a branch of its own.
"""

import sha512

struct Point:
    x: uint256
    y: uint256
    z: uint256
    t: uint256

P: constant(uint256) = 2**255 - 19
ORDER: constant(uint256) = 2**252 + 27742317777372353535851937790883648493  # L, of the base point
D: constant(uint256) = 37095705934669439343138083508754565189542113879843219016388785533085940283555
TWICE_D: constant(uint256) = 16295367250680780974490674513165176452449235426866156013048779062215315747161
ROOT_OF_MINUS_ONE: constant(uint256) = 19681161376707505956807079304988542015446066515923890162744021073123829784752
BASE_X: constant(uint256) = 15112221349535400772501151409588531511454012693041857206046113283949847762202
BASE_Y: constant(uint256) = 46316835694926478169428394003475163141307993866256225615783033603165251855960
BASE_T: constant(uint256) = 46827403850823179245072216630277197565144205554125654976674165829533817101731
SIGN: constant(uint256) = 2**255  # the bit of an encoding that tells x from -x


@internal
@view
def valid_key(key: bytes32) -> bool:
    """
    @notice Whether the 32 bytes are the canonical encoding of a point that is not of small order.
    """
    found: bool = False
    point: Point = empty(Point)
    found, point = self._decode(key)
    return found and not self._small(point)


@internal
@view
def verify(key: bytes32, message: Bytes[sha512.MAX_MESSAGE - 64], r: bytes32, s: bytes32) -> bool:
    """
    @notice Whether the signature r || s by `key` fits `message`.
    """
    scalar: uint256 = self._little_endian(s)
    if scalar >= ORDER:  # S and S + L would be two signatures of one message
        return False
    found: bool = False
    point: Point = empty(Point)
    found, point = self._decode(key)
    if not found or self._small(point):
        return False
    high: uint256 = 0
    low: uint256 = 0
    high, low = sha512.digest(concat(r, key, message))
    # The digest is little-endian: its second half is the more significant one.
    k: uint256 = uint256_addmod(
        self._little_endian(convert(high, bytes32)),
        uint256_mulmod(self._little_endian(convert(low, bytes32)), max_value(uint256) % ORDER + 1, ORDER),
        ORDER,
    )
    point.x = unsafe_sub(P, point.x)
    point.t = unsafe_sub(P, point.t)
    sum: Point = self._sum_of_products(scalar, k, point)  # [S]B - [k]A
    return self._encode(sum) == r and not self._small(sum)


@internal
@pure
def _sum_of_products(a: uint256, b: uint256, q: Point) -> Point:
    """
    @notice [a]B + [b]Q: two bits of both scalars at a time, over a table of iB + jQ at 4i + j.
    """
    base: Point = Point(x=BASE_X, y=BASE_Y, z=1, t=BASE_T)
    table: Point[16] = empty(Point[16])
    table[0] = Point(x=0, y=1, z=1, t=0)
    for i: uint256 in range(1, 16):
        if i & 3 == 0:
            table[i] = self._add(table[unsafe_sub(i, 4)], base)
        else:
            table[i] = self._add(table[unsafe_sub(i, 1)], q)
    sum: Point = table[0]
    for i: uint256 in range(127):
        at: uint256 = unsafe_sub(252, unsafe_mul(i, 2))
        sum = self._add(self._double(self._double(sum)), table[(a >> at & 3) << 2 | b >> at & 3])
    return sum


@internal
@pure
def _add(p: Point, q: Point) -> Point:
    a: uint256 = uint256_mulmod(unsafe_sub(unsafe_add(p.y, P), p.x), unsafe_sub(unsafe_add(q.y, P), q.x), P)
    b: uint256 = uint256_mulmod(unsafe_add(p.y, p.x), unsafe_add(q.y, q.x), P)
    c: uint256 = uint256_mulmod(uint256_mulmod(p.t, TWICE_D, P), q.t, P)
    d: uint256 = uint256_mulmod(unsafe_add(p.z, p.z), q.z, P)
    e: uint256 = unsafe_sub(unsafe_add(b, P), a)
    f: uint256 = unsafe_sub(unsafe_add(d, P), c)
    g: uint256 = unsafe_add(d, c)
    h: uint256 = unsafe_add(b, a)
    return self._point(e, f, g, h)


@internal
@pure
def _double(p: Point) -> Point:
    a: uint256 = uint256_mulmod(p.x, p.x, P)
    b: uint256 = uint256_mulmod(p.y, p.y, P)
    c: uint256 = uint256_mulmod(unsafe_add(p.z, p.z), p.z, P)
    xy: uint256 = unsafe_add(p.x, p.y)
    h: uint256 = uint256_addmod(a, b, P)
    e: uint256 = uint256_addmod(h, unsafe_sub(P, uint256_mulmod(xy, xy, P)), P)
    g: uint256 = uint256_addmod(a, unsafe_sub(P, b), P)
    return self._point(e, unsafe_add(c, g), g, h)


@internal
@pure
def _point(e: uint256, f: uint256, g: uint256, h: uint256) -> Point:
    return Point(
        x=uint256_mulmod(e, f, P),
        y=uint256_mulmod(g, h, P),
        z=uint256_mulmod(f, g, P),
        t=uint256_mulmod(e, h, P),
    )


@internal
@pure
def _small(p: Point) -> bool:
    """
    @notice Whether [8]p is the neutral point.
    """
    eighth: Point = self._double(self._double(self._double(p)))
    return eighth.x == 0 and eighth.y == eighth.z


@internal
@view
def _decode(encoded: bytes32) -> (bool, Point):
    """
    @notice The point of an encoding, or False when y is not reduced or belongs to no point of the curve.
    @dev x = 0 has an encoding too many, with the bit set; the points are of small order, which callers refuse.
    """
    number: uint256 = self._little_endian(encoded)
    odd: uint256 = number >> 255
    y: uint256 = number & unsafe_sub(SIGN, 1)
    if y >= P:
        return False, empty(Point)
    yy: uint256 = uint256_mulmod(y, y, P)
    u: uint256 = uint256_addmod(yy, unsafe_sub(P, 1), P)
    v: uint256 = uint256_addmod(uint256_mulmod(D, yy, P), 1, P)
    v3: uint256 = uint256_mulmod(uint256_mulmod(v, v, P), v, P)
    uv3: uint256 = uint256_mulmod(u, v3, P)
    uv7: uint256 = uint256_mulmod(uint256_mulmod(uv3, v3, P), v, P)
    x: uint256 = uint256_mulmod(uv3, self._power(uv7, (P - 5) // 8), P)  # a root of u/v or of -u/v
    vxx: uint256 = uint256_mulmod(v, uint256_mulmod(x, x, P), P)
    if vxx != u:
        if uint256_addmod(vxx, u, P) != 0:
            return False, empty(Point)
        x = uint256_mulmod(x, ROOT_OF_MINUS_ONE, P)
    if x & 1 != odd:
        x = unsafe_sub(P, x)
    return True, Point(x=x, y=y, z=1, t=uint256_mulmod(x, y, P))


@internal
@view
def _encode(p: Point) -> bytes32:
    inverse: uint256 = self._power(p.z, P - 2)
    x: uint256 = uint256_mulmod(p.x, inverse, P)
    y: uint256 = uint256_mulmod(p.y, inverse, P)
    return convert(self._little_endian(convert((x & 1) << 255 | y, bytes32)), bytes32)


@internal
@view
def _power(base: uint256, exponent: uint256) -> uint256:
    """
    @notice base ** exponent mod P by the precompiled contract 5 (EIP-198).
    """
    size: uint256 = 32
    answer: Bytes[32] = raw_call(
        0x0000000000000000000000000000000000000005,
        abi_encode(size, size, size, base, exponent, P),
        max_outsize=32,
        is_static_call=True,
    )
    return convert(answer, uint256)


@internal
@pure
def _little_endian(encoded: bytes32) -> uint256:
    """
    @notice The number of 32 bytes, least significant byte first: neighbours change places, then pairs, and so on.
    """
    n: uint256 = convert(encoded, uint256)
    n = (n & max_value(uint256) // 257) << 8 | n >> 8 & max_value(uint256) // 257
    n = (n & max_value(uint256) // 65537) << 16 | n >> 16 & max_value(uint256) // 65537
    n = (n & max_value(uint256) // (2**32 + 1)) << 32 | n >> 32 & max_value(uint256) // (2**32 + 1)
    n = (n & max_value(uint256) // (2**64 + 1)) << 64 | n >> 64 & max_value(uint256) // (2**64 + 1)
    return n << 128 | n >> 128

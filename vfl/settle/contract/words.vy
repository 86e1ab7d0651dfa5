# pragma version ==0.4.3
# pragma evm-version london
"""
@title The alphabets of the ledger's fields, and the numbers it writes as text
@notice What a field may hold keeps it from passing for the text around it.
@dev An alphabet is a number: bit c is set where the character c belongs to it.
"""

# Printable, without space and without what JSON would have to escape: [!#-\[\]-~]
WORD: constant(uint256) = 170141183455517471574545782590517805056
# [A-Za-z0-9._-] and [A-Za-z0-9], for names of parties and runs
NAME: constant(uint256) = 10633823849912963253799276948597243904
FIRST_OF_NAME: constant(uint256) = 10633823810298881996667002598709002240
HEX: constant(uint256) = 9982748476797594485687712743424  # [0-9a-f]
HEX_DIGITS: constant(Bytes[16]) = b"0123456789abcdef"
BASE64_DIGITS: constant(Bytes[64]) = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@internal
@pure
def is_word(text: String[200]) -> bool:
    return len(text) > 0 and self._is_of(text, WORD)


@internal
@pure
def is_name(text: String[63]) -> bool:
    return len(text) > 0 and self._is_of(slice(text, 0, 1), FIRST_OF_NAME) and self._is_of(text, NAME)


@internal
@pure
def is_digest(text: String[128]) -> bool:
    """
    @notice Whether the text is 16 to 64 bytes in lowercase hexadecimal digits.
    """
    return len(text) >= 32 and len(text) & 1 == 0 and self._is_of(text, HEX)


@internal
@pure
def hexadecimal(word: bytes32) -> String[64]:
    """
    @notice 32 bytes as 64 lowercase digits.
    """
    number: uint256 = convert(word, uint256)
    left: uint256 = self._digits(number, 252, 4, 32, HEX_DIGITS)
    right: uint256 = self._digits(number, 124, 4, 32, HEX_DIGITS)
    return convert(concat(convert(left, bytes32), convert(right, bytes32)), String[64])


@internal
@pure
def base64(word: bytes32) -> String[44]:
    """
    @notice 32 bytes as 43 digits, the last of which holds four bits, and a sign of equality.
    """
    number: uint256 = convert(word, uint256)
    left: uint256 = self._digits(number, 250, 6, 32, BASE64_DIGITS)
    right: uint256 = self._digits(number << 2, 60, 6, 11, BASE64_DIGITS) << 8 | 61
    return convert(concat(convert(left, bytes32), slice(convert(right << 160, bytes32), 0, 12)), String[44])


@internal
@pure
def _digits(number: uint256, top: uint256, bits: uint256, count: uint256, digits: Bytes[64]) -> uint256:
    """
    @notice The characters of `count` digits of so many bits, the first of which has its lowest bit at `top`.
    """
    text: uint256 = 0
    for i: uint256 in range(count, bound=32):
        digit: uint256 = number >> (top - bits * i) & ((1 << bits) - 1)
        text = text << 8 | convert(slice(digits, digit, 1), uint256)
    return text


@internal
@pure
def _is_of(text: String[200], alphabet: uint256) -> bool:
    padded: Bytes[232] = concat(convert(text, Bytes[200]), empty(bytes32))
    for i: uint256 in range(len(text), bound=200):
        if alphabet >> (convert(extract32(padded, i), uint256) >> 248) & 1 == 0:
            return False
    return True

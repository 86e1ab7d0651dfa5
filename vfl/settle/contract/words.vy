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
BASE64: constant(Bytes[64]) = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


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
def base64(word: bytes32) -> String[44]:
    """
    @notice 32 bytes as 43 digits, the last of which holds four bits, and a sign of equality.
    """
    number: uint256 = convert(word, uint256)
    left: uint256 = 0
    for i: uint256 in range(32):
        left = left << 8 | self._base64_digit(number >> (250 - 6 * i) & 63)
    right: uint256 = 0
    for i: uint256 in range(32, 42):
        right = right << 8 | self._base64_digit(number >> (250 - 6 * i) & 63)
    right = (right << 8 | self._base64_digit(number << 2 & 63)) << 8 | 61
    ends: Bytes[12] = slice(convert(right << 160, bytes32), 0, 12)
    return convert(concat(convert(left, bytes32), ends), String[44])


@internal
@pure
def _base64_digit(six_bits: uint256) -> uint256:
    return convert(slice(BASE64, six_bits, 1), uint256)


@internal
@pure
def _is_of(text: String[200], alphabet: uint256) -> bool:
    padded: Bytes[232] = concat(convert(text, Bytes[200]), empty(bytes32))
    for i: uint256 in range(len(text), bound=200):
        if alphabet >> (convert(extract32(padded, i), uint256) >> 248) & 1 == 0:
            return False
    return True

# pragma version ==0.4.3
# pragma evm-version london
"""
@title Whole units in proportion to shares
"""

MAX_PARTIES: constant(uint256) = 16
MILLION: constant(uint256) = 1_000_000


@internal
@pure
def largest_remainders(
    amount: uint256, ppm: DynArray[uint256, MAX_PARTIES]
) -> DynArray[uint256, MAX_PARTIES]:
    """
    @notice The amount in parts per million: rounded down, then one more unit for the largest remainders, the first of
        equal ones.
    """
    payments: DynArray[uint256, MAX_PARTIES] = []
    remainders: DynArray[uint256, MAX_PARTIES] = []
    left: uint256 = amount
    for share: uint256 in ppm:
        payments.append(amount * share // MILLION)
        remainders.append(amount * share % MILLION)
        left -= amount * share // MILLION
    for n: uint256 in range(left, bound=MAX_PARTIES):
        largest: uint256 = 0
        for i: uint256 in range(len(ppm), bound=MAX_PARTIES):
            if remainders[i] > remainders[largest]:
                largest = i
        payments[largest] += 1
        remainders[largest] = 0
    return payments

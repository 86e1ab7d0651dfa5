# pragma version ==0.4.3
# pragma evm-version london
"""
@title Refusals
"""


@internal
@pure
def hold(fits: bool, reason: String[64]):
    """
    @notice Refuse what does not fit.
    @dev One copy of what `assert` would build in every place, which made a third of the consortium's code.
    """
    assert fits, reason

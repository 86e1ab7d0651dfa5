"""Where a contract runs: an EVM inside this process, or any node that speaks Ethereum's JSON-RPC.

Nothing but this package imports them (extra `chain`), and nothing of it is needed to keep or to check a ledger.
"""

from vfl.settle.engines.engine import Engine, Raw, require_chain

__all__ = ["Engine", "Raw", "require_chain"]

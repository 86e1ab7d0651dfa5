"""Settlement: what each party's data is worth, who is paid, and what a proven lie costs.

contract/     the smart contract: source, ABI, bytecode
engines/      where it runs: an EVM in this process, or a node
"""

"""The consortium's contract: sources in Vyper, and what was compiled from them.

consortium.vy          parties, deposits, stakes, evidence, challenges, shares, payments
ledger_signatures.vy   signed texts of the ledger, rebuilt and verified; deployed before, called by the consortium
ed25519.vy, sha512.vy, words.vy   what that is made of
*.json                 ABI and bytecode, written by `python -m vfl.settle.contract.build`; all that running it needs
"""

"""The consortium's contract: sources in Vyper, and what was compiled from them.

consortium.vy          parties, deposits, stakes, evidence, challenges, shares, payments; made of
  statements.vy          what chain keys sign (EIP-712), and who signed it
  apportioning.vy        whole units in proportion to shares
  events.vy, must.vy     what it tells, and how it refuses
ledger_signatures.vy   signed texts of the ledger, rebuilt and verified; deployed before, called by the consortium
  ed25519.vy, sha512.vy  the signatures
  words.vy               the alphabets of the fields
*.json                 ABI and bytecode, written by `python -m vfl.settle.contract.build`; all that running it needs
"""

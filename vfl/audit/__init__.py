"""Re-execution audit: a party opens a few of its answers to a regulator, who computes them again.

regulator                                              party
nonce, number of cells          -->
                                                       drawing    which cells: from its cosigned head and the nonce
                                                       openings   columns, seeds and received messages of these
                                <--                    sealing_to encrypted to the regulator, signed by the party
drawing      the same cells
openings     against the roots that the ledger has since before training
reexecute    the answers again, against the digests in the ledger
finding      signed where one differs: evidence for third parties
"""

"""Re-execution audit: a party opens a little of what it said to a regulator, who computes it again.

regulator                                              party
nonce, number of cells          -->
                                                       drawing    which cells: from its cosigned head and the nonce
                                                       openings, label_openings   what these were computed from
                                <--                    sealing_to encrypted to the regulator, signed by the party
drawing      the same cells
reexecute, labels_again    openings against the roots that the ledger has since before training, then the messages again
                           against the digests in the ledger
finding      signed where one differs: evidence for third parties

A partner opens answers to queries (`record`, `openings`, `reexecute`); the active party opens the encrypted rows
that it sent (`label_record`, `label_openings`, `labels_again`). `sides` joins both.
"""

"""Deterministic simulation: the real roles, desks and ledgers on machines, disks and networks that fail.

    casts.py      who plays what: the real roles on tiny tables, and how an undisturbed run ends
    mix.py        which faults a seed brings, and how often
    schedule.py   virtual time: one heap of events, one random generator
    network.py    streams between parties: what TLS makes of a bad network, or the bad network itself
    disk.py       what survives a kill, a power cut, a full disk, a flipped bit, an old backup
    machine.py    a party's computer: its process takes the role from its transcript, as `vfl.seat` does
    promises.py   P1 to P9, checked at every step and at the end
    world.py      one simulated run, and what goes wrong in it
    playing.py    a seed: its world, compared with the undisturbed one
    auditing.py   the verifier at the end
    damage.py     flipped bits and old backups
    bugs.py       bugs planted in the product's code, each of which must be found

A broken stream ends an attempt. The active party waits, doubling the time, and dials all peers again; then every party
takes its role from its transcript (decision 0027). Everything random comes from the seed, so a seed is a replay:
`python -m tests.simulation SEED --trace`.
"""

"""Shares of a settlement, worked out from its bundle by somebody who has this page and docs/spec/settle.md alone.

python recompute.py settlement.bundle
"""

import hashlib
import json
import sys
import zipfile
from fractions import Fraction
from itertools import combinations
from math import factorial

import numpy as np


def orders(players, seed, pairs):
    found = []
    for number in range(pairs):
        words = hashlib.shake_256(seed + b"order" + number.to_bytes(4, "big")).digest(8 * players)
        order = sorted(range(players), key=lambda player: words[8 * player : 8 * player + 8])
        found += [order, order[::-1]]
    return found


def shapley(players, worth, seed, pairs):
    """The value of each player; `worth` of a set of players."""
    found = [Fraction(0)] * players
    if pairs:
        for order in orders(players, seed, pairs):
            for place, player in enumerate(order):
                found[player] += worth(order[: place + 1]) - worth(order[:place])
        return [one / (2 * pairs) for one in found]
    for player in range(players):
        others = [one for one in range(players) if one != player]
        for size in range(players):
            weight = Fraction(factorial(size) * factorial(players - size - 1), factorial(players))
            for some in combinations(others, size):
                found[player] += weight * (worth([*some, player]) - worth(some))
    return found


def values(clause, patterns, counts):
    """What the model of each coalition is worth, if so many customers are of each pattern."""
    found = []
    for bit in range(len(patterns[0][1])):
        good = sum(
            int(n) for (label, bits, _), n in zip(patterns, counts, strict=True) if bits[bit] == "1" and not label
        )
        bad = sum(int(n) for (label, bits, _), n in zip(patterns, counts, strict=True) if bits[bit] == "1" and label)
        if clause["value"] == "profit":
            found.append(Fraction(good * clause["profit_good"] - bad * clause["loss_bad"]))
        else:
            found.append(-Fraction(bad, max(good + bad, 1)))
    return found


def contributions(body, counts):
    """The value of each player with these counts."""
    clause, players, seed = body["clause"], len(body["players"]), bytes.fromhex(body["seed"])
    owner = players - 1 if clause["label_owner"] == "player" else None
    each = values(clause, body["patterns"], counts)
    place = {tuple(one["players"]): n for n, one in enumerate(body["coalitions"]) if not one["null"]}

    def worth(some):
        if owner is not None and owner not in some:
            return Fraction(0)
        return each[place[tuple(sorted(set(some) - {owner}))]] - each[place[()]]

    return shapley(players, worth, seed, body["pairs"])


def resamples(body):
    """Counts of customers drawn with replacement, 200 times."""
    found = np.array([count for *_, count in body["patterns"]])
    n, ends = int(found.sum()), np.cumsum(found)
    for number in range(200):
        words = hashlib.shake_256(bytes.fromhex(body["seed"]) + b"resample" + number.to_bytes(4, "big")).digest(4 * n)
        drawn = np.frombuffer(words, "<u4").astype(np.uint64) * np.uint64(n) >> np.uint64(32)
        yield np.bincount(np.searchsorted(ends, drawn.astype(np.int64), side="right"), minlength=len(ends)).tolist()


def millionths(body):
    """Who is paid how much of a million."""
    found = contributions(body, [count for *_, count in body["patterns"]])
    spread = [
        sorted(column) for column in zip(*(contributions(body, counts) for counts in resamples(body)), strict=True)
    ]
    paid = [max(value, 0) if many[5] > 0 else Fraction(0) for value, many in zip(found, spread, strict=True)]
    if not sum(paid):
        return {party: 1_000_000 * (number == 0) for number, party in enumerate(body["parties"])}
    shares = dict.fromkeys(body["parties"], Fraction(0))
    for part, entities in zip(paid, body["players"], strict=True):
        sharing = entities[:1] if body["clause"]["in_cluster"] == "first" else entities
        for _, parties in sharing:
            for party in parties:
                shares[party] += part / sum(paid) / len(sharing) / len(parties) * 1_000_000
    whole = {party: int(share) for party, share in shares.items()}
    order = sorted(shares, key=lambda party: (whole[party] - shares[party], body["parties"].index(party)))
    for party in order[: 1_000_000 - sum(whole.values())]:
        whole[party] += 1
    return whole


if __name__ == "__main__":
    with zipfile.ZipFile(sys.argv[1]) as bundle:
        told = json.loads(bundle.read("artefacts/contribution.json"))
        print(json.dumps(millionths(told)))

from hashlib import sha256

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import BadProof
from ledger.merkle import EMPTY_ROOT, Tree, leaf_hash, node_hash, root_of, verify_consistency, verify_inclusion

# Leaves and roots of the reference tree used by certificate transparency implementations (RFC 6962 hashing).
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def naive(leaves):
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(naive(leaves[:k]), naive(leaves[k:]))


def leaves_of(count):
    return [leaf_hash(b"%d" % i) for i in range(count)]


def test_known_roots():
    tree = Tree(leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES)
    assert tree.root(0) == EMPTY_ROOT == sha256(b"").digest()
    for size, root in CT_ROOTS.items():
        assert tree.root(size).hex() == root


@given(st.lists(st.binary(max_size=40), max_size=70))
@settings(max_examples=40, deadline=None)
def test_roots_agree_with_pymerkle_and_the_definition(data):
    tree, other = Tree(), pymerkle.InmemoryTree(algorithm="sha256")
    for item in data:
        tree.append(leaf_hash(item))
        other.append_entry(item)
        assert tree.root() == other.get_root()
    assert tree.root() == naive([leaf_hash(item) for item in data]) == root_of(leaf_hash(item) for item in data)


def test_every_inclusion_proof_up_to_64():
    leaves = leaves_of(64)
    tree = Tree(leaves)
    for size in range(1, 65):
        for seq in range(size):
            verify_inclusion(leaves[seq], seq, size, tree.inclusion_proof(seq, size), tree.root(size))


def test_every_consistency_proof_up_to_64():
    tree = Tree(leaves_of(64))
    for new in range(65):
        for old in range(new + 1):
            verify_consistency(old, new, tree.root(old), tree.root(new), tree.consistency_proof(old, new))


def mutations(proof):
    yield [*proof, bytes(32)]
    for i, item in enumerate(proof):
        yield proof[:i] + proof[i + 1 :]
        yield [*proof[:i], bytes([item[0] ^ 1]) + item[1:], *proof[i + 1 :]]


def test_mutated_consistency_proofs_are_refused():
    tree = Tree(leaves_of(33))
    for new in range(1, 34):
        for old in range(1, new):
            proof, roots = tree.consistency_proof(old, new), (tree.root(old), tree.root(new))
            for wrong in mutations(proof):
                with pytest.raises(BadProof):
                    verify_consistency(old, new, *roots, wrong)
            for pair in [(roots[1], roots[1]), (roots[0], roots[0])]:
                with pytest.raises(BadProof):
                    verify_consistency(old, new, *pair, proof)


def test_mutated_inclusion_proofs_are_refused():
    leaves = leaves_of(20)
    tree = Tree(leaves)
    for size in range(1, 21):
        for seq in range(size):
            proof, root = tree.inclusion_proof(seq, size), tree.root(size)
            for wrong in mutations(proof):
                with pytest.raises(BadProof):
                    verify_inclusion(leaves[seq], seq, size, wrong, root)
            with pytest.raises(BadProof):
                verify_inclusion(leaf_hash(b"other"), seq, size, proof, root)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t: t.root(5),
        lambda t: t.root(-1),
        lambda t: t.leaf(4),
        lambda t: t.append(b"short"),
        lambda t: t.inclusion_proof(4, 4),
        lambda t: t.consistency_proof(3, 2),
        lambda t: verify_inclusion(t.leaf(0), 4, 4, [], t.root()),
        lambda t: verify_inclusion(t.leaf(0), 0, 1, [t.leaf(1)], t.leaf(0)),
        lambda t: verify_consistency(3, 2, t.root(3), t.root(2), []),
        lambda t: verify_consistency(2, 2, t.root(2), t.root(3), []),
        lambda t: verify_consistency(2, 2, t.root(2), t.root(2), [t.root()]),
        lambda t: verify_consistency(0, 2, t.root(2), t.root(2), []),
        lambda t: verify_consistency(3, 4, t.root(3), t.root(4), []),
    ],
)
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(BadProof):
        wrong(Tree(leaves_of(4)))

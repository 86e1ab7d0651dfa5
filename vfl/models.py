"""Model shares as files: what each party keeps of a joint model, as plain JSON.

The active party holds every tree's shape and leaf values, its own split records, and which feature each split of the
others is on; a passive party holds its split records only. A tree node names its owner (0 the active party, k the k-th
passive one) and the record's number there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from vfl.agreement import Agreement
from vfl.errors import UsageError
from vfl.learn.columns import Columns
from vfl.learn.ensemble import Ensemble
from vfl.learn.objective import OBJECTIVES
from vfl.learn.tree import Cover, SplitRecord, Tree

FORMAT = "tallystick-gbdt-share-v3"


def active_share(agreement: Agreement, columns: Columns, model: Ensemble) -> bytes:
    """The active party's share."""
    head = _head(agreement, agreement.active.name, columns, model.records)
    owners = [agreement.active.name, *(member.name for member in agreement.passives)]
    return _encode(
        {
            **head,
            "objective": model.objective,
            "owners": owners,
            "starts": list(model.starts),
            "passive_features": [list(features) for features in model.passive_features],
            "trees": [_tree(tree) for tree in model.trees],
        }
    )


def passive_share(agreement: Agreement, name: str, columns: Columns, records: Sequence[SplitRecord]) -> bytes:
    """A passive party's share."""
    return _encode(_head(agreement, name, columns, records))


def read_records(share: bytes) -> list[SplitRecord]:
    """The split records in a share of either kind. Raises UsageError if it is no share."""
    names, body = _decode(share)
    try:
        return [_read_record(names, one) for one in body["records"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"the model share is damaged: {error!r}") from None


def _read_record(names: Sequence[str], body: dict[str, Any]) -> SplitRecord:
    feature = names.index(body["feature"])
    if "categories" not in body:
        return SplitRecord(feature, float(body["threshold"]), int(body["bin"]), bool(body["default_left"]))
    categories, bins = (tuple(map(int, body[key])) for key in ("categories", "bins"))
    if not categories or len(categories) != len(bins) or list(categories) != sorted(set(categories)):
        raise ValueError(f"the categories of a split of {body['feature']!r} are none")
    return SplitRecord(feature, 0.0, 0, False, categories, bins)


def read_ensemble(share: bytes) -> Ensemble:
    """The model in the active party's share. Raises UsageError if it is no such share."""
    _, body = _decode(share)
    try:
        trees = tuple(_read_tree(tree) for tree in body["trees"])
        objective = str(body["objective"])
        features = tuple(tuple(map(int, numbers)) for numbers in body["passive_features"])
        model = Ensemble(tuple(map(float, body["starts"])), trees, tuple(read_records(share)), features, (), objective)
        if objective not in OBJECTIVES or (model.outputs > 1) != (objective == "multiclass"):
            raise ValueError(f"objective {objective!r} with {model.outputs} outputs")
        for tree in trees:
            _require_sound(tree, [len(model.records), *model.passive_records])
        return model
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"the active party's model share is damaged: {error!r}") from None


def require_share(share: bytes, agreement: Agreement, party: str) -> None:
    """Raise UsageError unless this is the share of `party` under this agreement."""
    names, body = _decode(share)
    expected = {"party": party, "agreement": agreement.digest}
    for key, due in expected.items():
        if body.get(key) != due:
            raise UsageError(f"the model share of {party} is of another {key}: {body.get(key)!r}, not {due!r}")
    if tuple(names) != agreement.member(party).features:
        raise UsageError(f"the model share of {party} has other features than the agreement")


def _tree(tree: Tree) -> dict[str, Any]:
    cover = tree.cover
    assert cover is not None
    return {
        "left": tree.left.tolist(),
        "right": tree.right.tolist(),
        "owner": tree.owner.tolist(),
        "record": tree.record.tolist(),
        "gain": cover.gain.tolist(),
        "leaf_value": tree.leaf_value.tolist(),
        "leaf_count": cover.count.tolist(),
        "leaf_weight": cover.weight.tolist(),
    }


def _read_tree(body: dict[str, Any]) -> Tree:
    return Tree(
        np.array(body["left"], np.int32),
        np.array(body["right"], np.int32),
        np.array(body["owner"], np.int16),
        np.array(body["record"], np.int32),
        np.array(body["leaf_value"], np.float64),
        Cover(
            np.array(body["leaf_count"], np.int64),
            np.array(body["leaf_weight"], np.float64),
            np.array(body["gain"], np.float64),
        ),
    )


def _require_sound(tree: Tree, records: Sequence[int]) -> None:
    """Raise ValueError unless this is a tree over so many records of each owner: what walks it needs no more checks."""
    nodes, children = len(tree.left), np.concatenate([tree.left, tree.right])
    inner, leaves = np.sort(children[children >= 0]), np.sort(~children[children < 0])
    cover = tree.cover
    assert cover is not None
    sizes = {len(tree.right), len(tree.owner), len(tree.record), len(cover.gain)}
    ends = {len(tree.leaf_value), len(cover.count), len(cover.weight)}
    sound = (
        sizes == {nodes}
        and ends == {nodes + 1}
        and np.array_equal(inner, np.arange(1, max(nodes, 1)))
        and (nodes == 0 or np.array_equal(leaves, np.arange(nodes + 1)))
        and all((side[side >= 0] > np.flatnonzero(side >= 0)).all() for side in (tree.left, tree.right))
        and all(0 <= owner < len(records) for owner in tree.owner.tolist())
        and all(0 <= at < records[owner] for owner, at in zip(tree.owner.tolist(), tree.record.tolist(), strict=True))
        and (cover.count >= 0).all()
        and bool(cover.count.any())
    )
    if not sound:
        raise ValueError("a tree is no tree over these records")


def _head(agreement: Agreement, party: str, columns: Columns, records: Sequence[SplitRecord]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "party": party,
        "agreement": agreement.digest,
        "features": list(columns.names),
        "records": [{"feature": columns.names[record.feature], **_record(record)} for record in records],
    }


def _record(record: SplitRecord) -> dict[str, Any]:
    """What goes left: of a categorical column categories, else values up to a threshold."""
    if record.categories:
        return {"categories": list(record.categories), "bins": list(record.bins)}
    return {"threshold": record.threshold, "bin": record.bin, "default_left": record.default_left}


def _encode(body: dict[str, Any]) -> bytes:
    return (json.dumps(body, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _decode(share: bytes) -> tuple[list[str], dict[str, Any]]:
    try:
        body = json.loads(share)
        if body["format"] != FORMAT:
            raise UsageError(f"not a model share of format {FORMAT}")
        return list(body["features"]), body
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"not a model share: {error!r}") from None

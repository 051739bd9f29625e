"""The check of a model file before XGBoost reads it: every index that it would follow.

XGBoost's documentation says that it does not check what it loads. A child or a column out of range
in a well-formed file ends the process at prediction; a tree of another class predicts wrongly in
silence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchloom.errors import CorruptFileError

_MOST_CATEGORIES = 1 << 24  # beyond it float32 cannot tell whole numbers apart
_NODE_ARRAYS = (
    "right_children",
    "parents",
    "split_indices",
    "split_conditions",
    "split_type",
    "default_left",
    "loss_changes",
    "sum_hessian",
)


def parse_model(text: bytes) -> dict[str, Any]:
    """Parse and check a model in JSON.

    Raises
    ------
    CorruptFileError
        If it is no model, or holds an index that leads out of it.
    """
    try:
        model = json.loads(text, object_pairs_hook=_unique_keys)
        _check_model(model["learner"])
    except CorruptFileError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as exc:
        raise _corrupt(f"{type(exc).__name__}: {exc}") from exc
    return model


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two members of one name XGBoost might take the one that was not checked.
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _corrupt("a name occurs twice in one object")
    return found


def _check_model(learner: dict[str, Any]) -> None:
    param = learner["learner_model_param"]
    features, targets = int(param["num_feature"]), int(param.get("num_target", 1))
    groups = max(1, int(param["num_class"]), targets)
    _demand(0 < features < 2**31 and groups < 2**20, "number of columns or classes")
    base_scores = np.atleast_1d(json.loads(param["base_score"])).tolist()
    _demand(len(_floats(base_scores)) in (1, groups), "base score")
    for name in ("feature_names", "feature_types"):
        _demand(len(learner.get(name, [])) in (0, features), name)
    booster = learner["gradient_booster"]
    if booster["name"] == "gblinear":
        _check_linear(booster["model"], features, groups)
    elif booster["name"] == "dart":
        _check_trees(booster["gbtree"]["model"], features, groups)
        trees = len(booster["gbtree"]["model"]["trees"])
        _demand(len(_floats(booster["weight_drop"])) == trees, "weights of the trees")
    else:
        _demand(booster["name"] == "gbtree", "kind of booster")
        _check_trees(booster["model"], features, groups)


def _check_linear(model: dict[str, Any], features: int, groups: int) -> None:
    _demand(len(_floats(model["weights"])) == (features + 1) * groups, "weights of the columns")


def _check_trees(model: dict[str, Any], features: int, groups: int) -> None:
    trees, classes = model["trees"], _ints(model["tree_info"])
    declared = int(model["gbtree_model_param"]["num_trees"])
    _demand(len(trees) == declared == len(classes), "number of trees")
    _demand(_within(classes, 0, groups), "class of a tree (tree_info)")
    rounds = _ints(model["iteration_indptr"])
    ordered = len(rounds) > 0 and rounds[0] == 0 and rounds[-1] == len(trees)
    _demand(ordered and (np.diff(rounds) >= 0).all(), "trees of each round (iteration_indptr)")
    vectors = any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in trees)
    _demand(vectors or (np.diff(rounds) % groups == 0).all(), "trees of each class")
    for number, tree in enumerate(trees):
        _demand(tree["id"] == number, f"id of tree {number}")
        try:
            _check_tree(tree, features, groups)
        except CorruptFileError as exc:
            raise CorruptFileError(f"{exc} (tree {number})") from None
    _check_category_names(model.get("cats", {}), features)


def _check_tree(tree: dict[str, Any], features: int, groups: int) -> None:
    param = tree["tree_param"]
    nodes, width = int(param["num_nodes"]), int(param["size_leaf_vector"])
    left = _ints(tree["left_children"])
    _demand(0 < nodes == len(left), "number of nodes")
    _demand(int(param["num_feature"]) == features, "number of columns")
    _demand(width in (0, 1, groups), "values of a leaf")
    for name in _NODE_ARRAYS:
        _demand(len(tree[name]) == nodes, f"length of {name}")
    _demand(len(_floats(tree["base_weights"])) == nodes * max(1, width), "length of base_weights")
    inner = left != -1
    _check_children(tree, left, inner, width)
    _demand(_within(_ints(tree["split_indices"])[inner], 0, features), "column of a split")
    _check_categories(tree)


def _check_children(
    tree: dict[str, Any], left: NDArray[np.int64], inner: NDArray[np.bool_], width: int
) -> None:
    """The nodes below the root are a tree: no child twice, and each child knows its parent."""
    right, parents = _ints(tree["right_children"]), _ints(tree["parents"])
    children = np.concatenate([left[inner], right[inner]])
    _demand(_within(children, 1, len(left)), "child of a node")
    _demand(len(np.unique(children)) == len(children), "child of two nodes")
    above = np.concatenate([np.flatnonzero(inner)] * 2)
    _demand((parents[children] == above).all(), "parent of a node")
    if width > 1:  # a leaf's right child is the place of its values
        leaves = len(_floats(tree["leaf_weights"])) // width
        used = parents >= 0
        used[0] = True  # the root, which has no parent
        _demand(_within(right[~inner & used], 0, leaves), "values of a leaf")
    else:
        _demand((right[~inner] == -1).all(), "child of a leaf")


def _check_categories(tree: dict[str, Any]) -> None:
    kinds, categories = _ints(tree["split_type"]), _ints(tree["categories"])
    nodes = _ints(tree["categories_nodes"])
    starts, sizes = _ints(tree["categories_segments"]), _ints(tree["categories_sizes"])
    _demand(_within(kinds, 0, 2), "kind of a split")
    _demand(len(nodes) == len(starts) == len(sizes), "number of splits by category")
    # Not of inner nodes only: XGBoost ends the process over a leaf that is said to split.
    _demand(np.array_equal(nodes, np.flatnonzero(kinds == 1)), "splits by category")
    _demand(_within(starts, 0, len(categories) + 1), "categories of a split")
    _demand(_within(sizes, 0, len(categories) + 1), "categories of a split")
    _demand((starts + sizes <= len(categories)).all(), "categories of a split")
    _demand(_within(categories, 0, _MOST_CATEGORIES), "category")


def _check_category_names(cats: dict[str, Any], features: int) -> None:
    """The names of categories that a booster trained elsewhere, on a frame, brings along."""
    columns = cats.get("enc", [])
    if not columns:
        return
    segments = _ints(cats["feature_segments"])
    sizes = [_names_in(column) for column in columns]
    _demand(len(columns) == features == len(segments) - 1, "columns with categories")
    _demand((segments == np.cumsum([0, *sizes])).all(), "categories of a column")
    order = _ints(cats["sorted_idx"])
    limits = np.repeat(sizes, sizes)
    _demand(len(order) == len(limits), "order of categories")
    _demand(bool(((order >= 0) & (order < limits)).all()), "order of categories")


def _names_in(column: dict[str, Any]) -> int:
    if "offsets" not in column:
        return len(column["values"])
    offsets = _ints(column["offsets"])
    if not len(offsets):
        return 0
    _demand(offsets[0] == 0 and offsets[-1] == len(column["values"]), "name of a category")
    _demand(bool((np.diff(offsets) >= 0).all()), "name of a category")
    return len(offsets) - 1


def _ints(values: Sequence[Any]) -> NDArray[np.int64]:
    array = np.asarray(values)
    _demand(array.ndim == 1 and (not len(array) or array.dtype.kind in "iu"), "list of numbers")
    return array.astype(np.int64)


def _floats(values: Sequence[Any]) -> NDArray[Any]:
    array = np.asarray(values)
    _demand(array.ndim == 1 and (not len(array) or array.dtype.kind in "iuf"), "list of numbers")
    return array


def _within(values: NDArray[Any], low: int, end: int) -> bool:
    return bool(((values >= low) & (values < end)).all())


def _demand(holds: Any, what: str) -> None:
    if not holds:
        raise _corrupt(f"{what} out of range")


def _corrupt(what: str) -> CorruptFileError:
    return CorruptFileError(
        f"the file holds no sound XGBoost model: {what}. XGBoost would crash or predict wrongly; "
        "take the file from its source again"
    )

"""Bounds of the indices in trees that were read from a file.

The compiled code behind decision trees, histogram gradient boosting and nearest neighbours follows
node, feature and row indices without looking whether they exist: a crafted file would crash the process
at the first prediction. Children are required to stand behind their parent, as all of scikit-learn's
builders put them, so that no walk can go in circles.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from zipfile import ZipFile

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
)
from sklearn.neighbors import BallTree, KDTree
from sklearn.tree import BaseDecisionTree
from sklearn.tree._tree import TREE_LEAF, Tree

from batchloom.errors import UnsafeFileError

_GRADIENT_BOOSTING = (GradientBoostingClassifier, GradientBoostingRegressor)
_HISTOGRAM_BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
# They hand their rows to the trees inside without a look at the number of columns.
_TREE_ENSEMBLES = (
    *_GRADIENT_BOOSTING,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
)


def check_before_loading(file: Any) -> None:
    """Check the arguments of the trees in a skops file, which their constructor believes.

    Raises
    ------
    UnsafeFileError
    """
    with ZipFile(file) as archive:
        schema = json.loads(archive.read("schema.json"))
        for node in _objects_of_schema(schema):
            if node.get("__loader__") == "TreeNode":
                _require(_are_tree_arguments(node, archive), "the outputs of a tree")


def check_loaded(loaded: Any) -> None:
    """Check every tree inside an object that was loaded and not used yet.

    Raises
    ------
    UnsafeFileError
        An index that is out of range, with what it is an index of.
    """
    for each in _objects(loaded):
        if isinstance(each, Tree):
            _check_tree(each)
        elif isinstance(each, (KDTree, BallTree)):
            _check_neighbours(each)
        elif isinstance(each, BaseDecisionTree):
            _check_width(each, getattr(each, "n_features_in_", None))
        elif isinstance(each, _TREE_ENSEMBLES):
            _check_ensemble(each)
        elif isinstance(each, _HISTOGRAM_BOOSTING):
            _check_histogram_boosting(each)


def _check_tree(tree: Tree) -> None:
    # node_count comes from the file, the capacity from the array that was allocated.
    _require(0 < tree.node_count <= tree.capacity, "the number of nodes")
    inner = tree.children_left != TREE_LEAF
    _check_children(tree.children_left, tree.children_right, inner)
    _check_within(tree.feature[inner], tree.n_features, "feature")


def _check_children(left: np.ndarray, right: np.ndarray, inner: np.ndarray) -> None:
    own = np.flatnonzero(inner)
    for children in (left, right):
        chosen = children[inner].astype(np.int64)
        _require(bool(np.all((chosen > own) & (chosen < len(children)))), "a child")


def _check_width(estimator: Any, width: Any) -> None:
    tree = getattr(estimator, "tree_", None)
    if isinstance(tree, Tree):
        _require(tree.n_features == width, "the number of features")


def _check_ensemble(ensemble: Any) -> None:
    members = getattr(ensemble, "estimators_", None)
    if members is None:
        return
    subsets = getattr(ensemble, "estimators_features_", None)
    trees = np.ravel(np.asarray(members, dtype=object))
    _require(subsets is None or len(subsets) == len(trees), "the subsets of features")
    for number, member in enumerate(trees):
        width = ensemble.n_features_in_ if subsets is None else len(subsets[number])
        _require(isinstance(getattr(member, "tree_", None), Tree), "a member that is no tree")
        _check_width(member, width)
    if isinstance(ensemble, _GRADIENT_BOOSTING):
        _check_boosting_outputs(ensemble, trees)


def _check_boosting_outputs(ensemble: Any, trees: np.ndarray) -> None:
    per_round = np.shape(ensemble.estimators_)[1:]
    _require(per_round == (ensemble.n_trees_per_iteration_,), "the trees of a round")
    for member in trees:
        _require(member.tree_.value.shape[1:] == (1, 1), "the outputs of a tree")


def _check_histogram_boosting(estimator: Any) -> None:
    if not hasattr(estimator, "_predictors"):
        return
    mapper = estimator._bin_mapper
    categorical = np.asarray(mapper.is_categorical_, dtype=bool)
    width = estimator.n_features_in_
    _require(len(categorical) == len(mapper.bin_thresholds_) == width, "the number of features")
    for feature in np.flatnonzero(categorical):
        # Categories are set as bits in 256.
        _check_within(np.asarray(mapper.bin_thresholds_[feature]), 256, "category")
    for predictors in estimator._predictors:
        _require(len(predictors) == estimator.n_trees_per_iteration_, "the trees of a round")
        for predictor in predictors:
            _check_predictor(predictor, categorical)


def _check_predictor(predictor: Any, categorical: np.ndarray) -> None:
    nodes = predictor.nodes
    _require(nodes.ndim == 1 and len(nodes) > 0, "the number of nodes")
    inner = nodes["is_leaf"] == 0
    _check_children(nodes["left"], nodes["right"], inner)
    _check_within(nodes["feature_idx"][inner], len(categorical), "feature")
    by_category = nodes[inner & (nodes["is_categorical"] != 0)]
    _require(bool(np.all(categorical[by_category["feature_idx"]])), "a categorical feature")
    for bitsets in (predictor.raw_left_cat_bitsets, predictor.binned_left_cat_bitsets):
        _require(bitsets.ndim == 2 and bitsets.shape[1] == 8, "the bitsets of categories")
        _check_within(by_category["bitset_idx"], len(bitsets), "bitset")


def _check_neighbours(tree: Any) -> None:
    data, rows, nodes, bounds = (np.asarray(each) for each in tree.__getstate__()[:4])
    n_rows, n_nodes = len(data), len(nodes)
    _require(rows.shape == (n_rows,), "the number of rows")
    _check_within(rows, n_rows, "row")
    _require(bounds.shape[1:] == (n_nodes, data.shape[1]), "the bounds of the nodes")
    start, end = nodes["idx_start"], nodes["idx_end"]
    _require(bool(np.all((start >= 0) & (start <= end) & (end <= n_rows))), "the rows of a node")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    _require(bool(np.all(2 * inner + 2 < n_nodes)), "a child")
    weights = tree.__getstate__()[-1]
    _require(weights is None or np.shape(weights) == (n_rows,), "the weights")


def _check_within(indices: np.ndarray, end: int, what: str) -> None:
    _require(bool(np.all((indices >= 0) & (indices < end))), f"a {what} index")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise UnsafeFileError(
            f"{what} is out of range in a tree of this file: predicting with it could crash the "
            "process. The file is damaged or was made to do harm; it was not loaded"
        )


def _are_tree_arguments(node: dict[str, Any], archive: ZipFile) -> bool:
    try:
        n_features, n_classes, n_outputs = node["__reduce__"]["args"]["content"]
        with archive.open(n_classes["file"]) as stream:
            classes = np.load(stream, allow_pickle=False)
        shape = (int(json.loads(n_outputs["content"])),)
        return classes.shape == shape and bool(np.all(classes > 0)) and "content" in n_features
    except (KeyError, TypeError, ValueError):
        return False


def _objects_of_schema(schema: Any) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def _objects(root: Any) -> Iterator[Any]:
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting.extend(_inside(each))


def _inside(each: Any) -> list[Any]:
    if isinstance(each, dict):
        return list(each.values())
    if isinstance(each, (list, tuple, set)):
        return list(each)
    if isinstance(each, np.ndarray):
        return list(each.flat) if each.dtype == object else []
    if isinstance(each, partial):
        return [each.func, *each.args, *each.keywords.values()]
    return list(getattr(each, "__dict__", {}).values())

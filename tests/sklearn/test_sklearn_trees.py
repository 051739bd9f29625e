"""Crafted indices in saved trees: refused before any prediction follows them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.neighbors import BallTree, KDTree, KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

from batchloom.errors import UnsafeFileError
from batchloom_sklearn import files, trees


def with_state(tree, **changes):
    """The same tree with other numbers in its state."""
    new_class, args, state = tree.__reduce__()
    state = {**state, **changes}
    changed = new_class(*args)
    changed.__setstate__(state)
    return changed


def with_nodes(tree, field, index, value):
    nodes = tree.__getstate__()["nodes"].copy()
    nodes[field][index] = value
    return with_state(tree, nodes=nodes)


@pytest.fixture
def forest(iris):
    return RandomForestClassifier(n_estimators=3, random_state=0).fit(*iris)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("left_child", 10_000, "child"),
        ("right_child", 10_000, "child"),
        ("left_child", -7, "child"),
        ("right_child", 0, "child"),  # round in circles
        ("feature", 4, "feature"),
        ("feature", -3, "feature"),
    ],
)
def test_indices_of_a_forest(tmp_path, forest, field, value, told):
    files.save(forest, tmp_path, "skops", ())
    files.load(tmp_path, False, ())
    member = forest.estimators_[1]
    member.tree_ = with_nodes(member.tree_, field, 0, value)
    files.save(forest, tmp_path, "skops", ())
    with pytest.raises(UnsafeFileError, match=told):
        files.load(tmp_path, False, ())


def test_a_tree_without_nodes(forest):
    tree = forest.estimators_[0].tree_
    with pytest.raises(UnsafeFileError, match="number of nodes"):
        trees.check_loaded([with_state(tree, node_count=0)])


def test_a_forest_that_takes_fewer_features_than_its_trees(forest):
    forest.n_features_in_ = 2
    with pytest.raises(UnsafeFileError, match="number of features"):
        trees.check_loaded(forest)


def test_a_tree_of_a_wider_table(iris):
    tree = DecisionTreeClassifier().fit(*iris)
    tree.n_features_in_ = 2
    with pytest.raises(UnsafeFileError, match="number of features"):
        trees.check_loaded({"somewhere": [tree]})


def test_subsets_of_features(iris):
    found = IsolationForest(n_estimators=3, max_features=2, random_state=0).fit(iris[0])
    trees.check_loaded(found)
    found.estimators_features_[0] = np.array([1])
    with pytest.raises(UnsafeFileError, match="number of features"):
        trees.check_loaded(found)


def test_outputs_of_gradient_boosting(iris):
    found = GradientBoostingClassifier(n_estimators=2).fit(*iris)
    trees.check_loaded(found)
    found.n_trees_per_iteration_ = 1
    with pytest.raises(UnsafeFileError, match="round"):
        trees.check_loaded(found)


@pytest.fixture
def boosting(iris):
    x = iris[0].copy()
    x[:, 0] = np.round(x[:, 0])
    return HistGradientBoostingClassifier(
        max_iter=2, categorical_features=[0], min_samples_leaf=3
    ).fit(x, iris[1])


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("left", 10_000, "child"),
        ("right", 0, "child"),
        ("feature_idx", 4, "feature"),
        ("feature_idx", -1, "feature"),
        ("is_categorical", 1, "categorical|bitset"),
    ],
)
def test_indices_of_histogram_boosting(tmp_path, boosting, field, value, told):
    files.save(boosting, tmp_path, "skops", ())
    files.load(tmp_path, False, ())
    nodes = boosting._predictors[1][0].nodes
    by_number = np.flatnonzero((nodes["is_leaf"] == 0) & (nodes["feature_idx"] != 0))[0]
    nodes[field][by_number] = value
    files.save(boosting, tmp_path, "skops", ())
    with pytest.raises(UnsafeFileError, match=told):
        files.load(tmp_path, False, ())


def test_categories_beyond_the_bitset(boosting):
    boosting._bin_mapper.bin_thresholds_[0] = np.array([3.0, 10_000.0])
    with pytest.raises(UnsafeFileError, match="category"):
        trees.check_loaded(boosting)


@pytest.mark.parametrize("kind", [KDTree, BallTree])
@pytest.mark.parametrize(
    ("position", "change", "told"),
    [
        (1, lambda rows: np.where(rows == 0, 10_000, rows), "row"),
        (2, lambda nodes: _field(nodes, "idx_end", 10_000), "rows of a node"),
        (2, lambda nodes: _field(nodes, "is_leaf", 0), "child"),
        (3, lambda bounds: bounds[:, :1].copy(), "bounds"),
    ],
)
def test_indices_of_neighbours(iris, kind, position, change, told):
    tree = kind(iris[0], leaf_size=10)
    trees.check_loaded([tree])
    state = list(tree.__getstate__())
    state[position] = change(np.array(state[position]))
    changed = kind.__new__(kind)
    changed.__setstate__(tuple(state))
    with pytest.raises(UnsafeFileError, match=told):
        trees.check_loaded([changed])


def _field(nodes, name, value):
    nodes[name][-1] = value
    return nodes


def test_neighbours_come_back(tmp_path, iris):
    given = KNeighborsClassifier(algorithm="kd_tree").fit(*iris)
    files.save(given, tmp_path, "skops", ())
    np.testing.assert_array_equal(
        files.load(tmp_path, False, ()).predict_proba(iris[0]), given.predict_proba(iris[0])
    )


def rewrite(path: Path, change):
    """Write a skops file again with another schema."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members["schema.json"])
    change(schema)
    members["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def tree_nodes(schema):
    return [
        node for node in trees._objects_of_schema(schema) if node.get("__loader__") == "TreeNode"
    ]


def test_arguments_that_the_constructor_of_a_tree_believes(tmp_path, iris):
    """They are read beyond their end before there is a tree to check."""
    files.save(DecisionTreeClassifier().fit(*iris), tmp_path, "skops", ())

    def more_outputs(schema):
        for node in tree_nodes(schema):
            node["__reduce__"]["args"]["content"][2]["content"] = str(10**6)

    rewrite(tmp_path / "estimator.skops", more_outputs)
    with pytest.raises(UnsafeFileError, match="outputs"):
        files.load(tmp_path, False, ())


def test_a_crafted_file_crashes_skops_and_not_us(tmp_path, forest, iris):
    """Without the check the process dies: shown in a process of its own."""
    for member in forest.estimators_:
        member.tree_ = with_nodes(member.tree_, "left_child", 0, 2**40)
    files.save(forest, tmp_path, "skops", ())
    np.save(tmp_path / "x.npy", iris[0])
    code = """
        import sys
        from pathlib import Path
        import numpy as np, skops.io
        from batchloom_sklearn import files
        folder = Path(sys.argv[1])
        try:
            files.load(folder, False, ())
        except ValueError as exc:
            print(exc, flush=True)
        loaded = skops.io.load(folder / "estimator.skops", trusted=["sklearn.tree._tree.Tree"])
        loaded.predict(np.load(folder / "x.npy"))
    """
    run = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=100, check=False)
    assert "out of range" in done.stdout
    assert done.returncode < 0  # a signal


def test_a_type_that_nobody_trusts(tmp_path, iris):
    buffer = io.BytesIO()
    skops.io.dump(Tree, buffer)
    (tmp_path / "estimator.skops").write_bytes(buffer.getvalue().replace(b"_tree", b"_evil"))
    with pytest.raises(Exception, match=r"evil|CRC"):
        files.load(tmp_path, False, ())

"""Bad input: an error that names the argument, and a model that is as it was."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.tf


@pytest.fixture
def model(drive, chain, batches):
    """A model of the digits that has been trained on one batch."""
    pytest.importorskip("keras")
    driven = drive("tf/Sequential", chain, name="clf")
    driven.losses(batches[:1])
    return driven


X, Y = np.full((4, 64), 0.5, "float32"), np.array([0, 1, 2, 9])
NAN, INF, HUGE = (
    np.where(np.arange(64) == 3, value, X.astype(float)) for value in (np.nan, np.inf, 1e300)
)

BAD = {
    "NaN in x": ({"x": NAN, "y": Y}, r"x has 4 value\(s\) that are NaN or infinite.*row 0"),
    "NaN in x, not cast": (
        {"x": NAN.astype("float32"), "y": Y},
        r"x has 4 value\(s\) that are NaN",
    ),
    "infinity in x": ({"x": INF, "y": Y}, r"x has 4 value\(s\) that are NaN or infinite"),
    "infinite once cast": ({"x": HUGE, "y": Y}, r"x has 4 value\(s\).*infinite in float32"),
    "NaN in the weights": (
        {"x": X, "y": Y, "sample_weight": [1, 1, np.nan, 1]},
        r"sample_weight has 1 value\(s\).*row 2",
    ),
    "another shape": (
        {"x": X[:, :5], "y": Y},
        r"x: expected shape \(rows, 64\), found \(4, 5\)",
    ),
    "one axis more": ({"x": X[:, :, None, None], "y": Y}, r"x: expected shape \(rows, 64\)"),
    "label too large": ({"x": X, "y": Y + 1}, r"y has the label 10 in row 3.*takes 0 to 9"),
    "negative label": ({"x": X, "y": Y - 1}, r"y has the label -1 in row 0"),
    "half a label": ({"x": X, "y": Y / 2}, r"y has 0.5, which is no number of a class"),
    "NaN label": ({"x": X, "y": Y * np.nan}, r"y has 4 value\(s\) that are NaN"),
    "one-hot labels": (
        {"x": X, "y": np.eye(10)[Y]},
        r"y: expected shape \(rows,\).*found \(4, 10\).*'categorical_crossentropy'",
    ),
    "strings as labels": ({"x": X, "y": np.array(list("abcd"))}, "y has strings such as 'a'"),
    "strings as data": ({"x": np.full((4, 64), "a"), "y": Y}, "x: expected float32, found strings"),
    "complex numbers": ({"x": X * 1j, "y": Y}, "x: expected float32, found complex64: make real"),
    "dates as labels": ({"x": X, "y": Y.astype("M8[s]")}, "y: expected float32, found datetime64"),
    "objects": (
        {"x": np.array([X, None, 1, 2], object), "y": Y},
        "x is an array of Python objects",
    ),
    "ragged lists": ({"x": [[1, 2], [3]], "y": Y[:2]}, "x is ragged"),
    "no labels": ({"x": X}, "y is missing"),
    "no data": ({"y": Y}, "x is missing"),
    "a single number": ({"x": 3.0, "y": Y}, "x is the single value 3.0"),
    "fewer labels than rows": ({"x": X, "y": Y[:3]}, r"\(x: 4, y: 3\)"),
    "fewer weights than rows": (
        {"x": X, "y": Y, "sample_weight": [1.0]},
        r"x: 4, y: 4, sample_weight: 1",
    ),
    "no rows": ({"x": X[:0], "y": Y[:0]}, "x has no rows"),
    "an unknown input": ({"x": {"imges": X}, "y": Y}, "x has 'imges', which is no input"),
    "fed twice": ({"x": X, "y": Y, "feed_dict": {"y": Y}}, "y is given twice"),
    "x and inputs": ({"x": X, "y": Y, "feed_dict": {"left": X}}, "both fed"),
    "output and fetches": (
        {"x": X, "y": Y, "output": "loss", "fetches": "loss"},
        "output and fetches mean the same",
    ),
    "output is no name": ({"x": X, "y": Y, "output": 3}, "a name or a list"),
    "unknown output": (
        {"x": X, "y": Y, "output": ["loss", "acuracy"]},
        "unknown output 'acuracy'.*did you mean 'accuracy'",
    ),
    "misspelt argument": (
        {"feed_dict": {"x": X, "y": Y}, "fecthes": "loss"},
        "unknown argument 'fecthes'.*did you mean 'fetches'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_nothing_changes(model, weights, case):
    bad, message = BAD[case]
    # Once a batch of this form was taken as it is, the next ones are not looked at as closely.
    for iterations in (1, 2):
        before = weights(model)
        with pytest.raises((ValueError, LookupError, TypeError), match=message) as caught:
            model.train(**bad)
        assert "model 'clf' (tf/Sequential)" in caught.value.__notes__
        for then, now in zip(before, weights(model), strict=True):
            np.testing.assert_array_equal(then, now)
        model.train(x=X, y=Y)
        assert model.predict(x=X).shape == (4, 10)
        assert model.model.network.optimizer.iterations == iterations + 1


def test_nan_is_refused_when_predicting_too(model):
    with pytest.raises(ValueError, match="x has 4 value"):
        model.predict(x=NAN)


def test_the_check_can_be_switched_off_and_is_what_saves_the_weights(drive, chain):
    model = drive("tf/Sequential", {**chain, "check_finite": False})
    model.train(x=NAN, y=Y)
    assert np.isnan(model.model.network.get_layer("hidden").kernel).any()


def test_a_sparse_matrix_is_refused(model):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(ValueError, match="x is a sparse matrix"):
        model.train(x=sparse.csr_array(X), y=Y)


def test_masked_values_are_refused(model):
    with pytest.raises(ValueError, match="x has masked values"):
        model.train(x=np.ma.masked_equal(X, 0.5), y=Y)
    model.train(x=np.ma.array(X), y=Y)


def test_data_frames_and_columns_are_taken(model):
    pandas = pytest.importorskip("pandas")
    assert model.train(x=pandas.DataFrame(X), y=pandas.Series(Y), output="predictions").shape == (
        4,
        10,
    )


@pytest.fixture
def two_inputs(drive):
    keras = pytest.importorskip("keras")

    def net():
        inputs = [keras.Input((2,), name="left"), keras.Input((3,), name="right")]
        return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(inputs)))

    return drive("tf/Model", {"model": net, "loss": "mse"})


L, R = np.ones((4, 2)), np.ones((4, 3))


@pytest.mark.parametrize(
    ("fed", "message"),
    [
        ({"left": L}, r"x lacks the input\(s\) \['right'\]"),
        ({"left": L, "right": R, "rihgt": R}, "x has 'rihgt'.*did you mean 'right'"),
        ({"left": R, "right": R}, r"x\['left'\]: expected shape \(rows, 2\), found \(4, 3\)"),
        ({"left": L, "right": R[:3]}, r"x\[0\]: 4, x\[1\]: 3"),
        ({"left": L, "right": R * np.nan}, r"x\['right'\] has 12 value"),
    ],
)
def test_each_input_of_several_is_checked_by_its_name(two_inputs, fed, message):
    with pytest.raises(ValueError, match=message):
        two_inputs.train(feed_dict={**fed, "y": np.ones(4)})
    with pytest.raises(ValueError, match="2 inputs, and x is one array"):
        two_inputs.train(x=L, y=np.ones(4))


@pytest.mark.parametrize(
    ("loss", "units", "y", "message"),
    [
        ("mse", 1, np.ones((4, 3)), r"y: expected shape \(rows, 1\).*mean_squared_error"),
        ("mae", 3, np.ones(4), r"y: expected shape \(rows, 3\)"),
        ("categorical_crossentropy", 10, Y, r"y: expected.*'sparse_categorical_crossentropy'"),
        ("binary_crossentropy", 1, [0, 1, 1, 2], r"y has the label 2 in row 3.*takes 0 to 1"),
        ("BinaryCrossentropy", 1, [-1, 1, 1, 1], r"y has the label -1 in row 0"),
    ],
)
def test_targets_that_the_loss_would_broadcast_are_refused(drive, loss, units, y, message):
    pytest.importorskip("keras")
    layers = [{"class_name": "Dense", "config": {"units": units}}]
    model = drive("tf/Sequential", {"layers": layers, "loss": loss})
    with pytest.raises(ValueError, match=message):
        model.train(x=X, y=y)


def test_a_last_axis_of_one_may_be_there_or_not(drive):
    pytest.importorskip("keras")
    layers = [{"class_name": "Dense", "config": {"units": 1}}]
    values = [
        drive("tf/Sequential", {"layers": layers, "loss": "mse", "seed": 1}).train(
            x=X, y=y, output="loss"
        )
        for y in (np.ones(4), np.ones((4, 1)), np.ones(4, "int8"))
    ]
    assert values[0] == values[1] == values[2]


def test_a_class_to_ignore_is_no_label_out_of_range(drive):
    keras = pytest.importorskip("keras")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    layers = [{"class_name": "Dense", "config": {"units": 10}}]
    model = drive("tf/Sequential", {"layers": layers, "loss": loss})
    assert np.isfinite(model.train(x=X, y=[0, 255, 9, 3], output="loss"))
    with pytest.raises(ValueError, match="label 254"):
        model.train(x=X, y=[0, 254, 255, 3])


def test_texts_of_any_length_share_one_step(drive):
    keras = pytest.importorskip("keras")

    def tagger():
        tokens = keras.Input((None,), dtype="int32")
        vectors = keras.layers.Embedding(50, 4)(tokens)
        return keras.Model(tokens, keras.layers.Dense(3, activation="softmax")(vectors))

    config = {"model": tagger, "loss": "sparse_categorical_crossentropy"}
    model = drive("tf/Model", config)
    for length in (5, 7, 3):
        tokens = np.arange(2 * length).reshape(2, length)
        assert np.isfinite(model.train(x=tokens, y=tokens % 3, output="loss"))
    assert model.model._steps.traces == 1
    with pytest.raises(ValueError, match="y has the label 3"):
        model.train(x=tokens, y=tokens % 4)

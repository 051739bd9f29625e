"""Plain data: what is written comes back as it was, and nothing else can be written."""

from collections import OrderedDict, deque

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchloom.errors import CheckpointError, CorruptFileError
from batchloom.plain import read_plain, write_plain


def there_and_back(value, folder):
    write_plain(value, folder, "a value")
    return read_plain(folder)


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
    ),
    max_leaves=12,
)


@given(value=values)
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_values_come_back_with_their_types(value, tmp_path_factory):
    back = there_and_back(value, tmp_path_factory.mktemp("plain") / "value")
    assert back == value
    assert repr(back) == repr(value)  # 1 and True and 1.0 are equal, and not the same


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        frozenset("a"),
        deque([1, [2]], maxlen=3),
        OrderedDict(b=1, a=2),
        float("inf"),
        {"~": "dict"},
        10**40,
    ],
    ids=repr,
)
def test_other_containers_and_numbers_come_back(value, tmp_path):
    back = there_and_back(value, tmp_path / "value")
    assert back == value
    assert repr(back) == repr(value)


def test_nan_comes_back(tmp_path):
    assert np.isnan(there_and_back([float("nan")], tmp_path / "value")[0])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.array([], dtype=np.float32),
        np.array(["a", "longer"]),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array("2026-01-01", dtype="datetime64[D]"),
    ],
    ids=lambda each: str(each.dtype),
)
def test_arrays_come_back_to_the_bit(array, tmp_path):
    back = there_and_back({"a": [array]}, tmp_path / "value")["a"][0]
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    assert back.shape == array.shape


def test_numpy_scalars_stay_scalars(tmp_path):
    back = there_and_back(np.float32(0.1), tmp_path / "value")
    assert type(back) is np.float32
    assert back == np.float32(0.1)


def test_arrays_of_lists_come_back_as_they_are(tmp_path):
    array = np.empty(2, dtype=object)
    array[0], array[1] = [1, 2], [3, 4]
    back = there_and_back(array, tmp_path / "value")
    assert back.shape == (2,)
    assert back.tolist() == [[1, 2], [3, 4]]


class Mine:
    pass


@pytest.mark.parametrize("value", [Mine(), [Mine()], {"a": (Mine(),)}, np.array([Mine()])])
def test_other_objects_are_refused_by_name(value, tmp_path):
    with pytest.raises(CheckpointError, match=r"variable 'v' holds .*Mine"):
        write_plain(value, tmp_path / "value", "variable 'v'")


def test_a_value_that_holds_itself_is_refused(tmp_path):
    value = []
    value.append(value)
    with pytest.raises(CheckpointError, match="holds itself"):
        write_plain(value, tmp_path / "value", "variable 'v'")


@pytest.mark.parametrize(
    "text",
    [
        '{"~": "system", "items": []}',
        "[",
        '{"~": "array", "number": 7}',
        '{"no": "tag"}',
        '{"~": 1}',
    ],
)
def test_what_is_no_plain_data_is_refused(text, tmp_path):
    (tmp_path / "tree.json").write_text(text)
    with pytest.raises(CorruptFileError):
        read_plain(tmp_path)


def test_an_array_that_is_a_pickle_is_refused(tmp_path):
    (tmp_path / "tree.json").write_text('{"~": "array", "number": 0}')
    np.save(tmp_path / "0.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptFileError):
        read_plain(tmp_path)

"""Records are what frozen dataclasses are, without their price."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from batchloom.errors import DefinitionError
from batchloom.records import Record, field, fields, replace


class Place(Record):
    """Where something is."""

    row: int
    column: int = 0
    marks: Mapping[str, int] = field(default_factory=dict)

    kind = "place"


class Named(Place):
    """A place with a name."""

    name: str = field(default="here", repr=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise DefinitionError("no name")


def test_fields_are_taken_by_position_and_by_name_after_those_of_the_base() -> None:
    place = Named(3, 4, name="there")
    assert (place.row, place.column, place.marks, place.name) == (3, 4, {}, "there")
    assert list(fields(Named)) == ["row", "column", "marks", "name"]
    assert repr(place) == "Named(row=3, column=4, marks={})"


def test_a_default_that_is_made_is_made_for_each_record() -> None:
    assert Place(1).marks is not Place(1).marks


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "needs the argument 'row'"),
        ((1, 2, {}, 4), {}, "takes 3 arguments at most, not 4. Its arguments are row, "),
        ((1,), {"row": 2}, "got 'row' twice. Its arguments are row, "),
        (
            (1,),
            {"colum": 2},
            "has no argument 'colum': did you mean 'column'? Its arguments are row, ",
        ),
    ],
    ids=["missing", "too many", "twice", "unknown"],
)
def test_wrong_arguments_are_refused(
    args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=f"^Place {re.escape(said)}"):
        Place(*args, **kwargs)


def test_no_field_can_be_set_or_deleted() -> None:
    place = Place(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="'row'"):
        place.row = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="'row'"):
        del place.row
    assert place.row == 1


def test_replacing_a_field_checks_the_record_again() -> None:
    assert replace(Named(1), name="there", row=2).row == 2
    with pytest.raises(DefinitionError, match="no name"):
        replace(Named(1), name="")
    with pytest.raises(TypeError, match=r"^Named\b.*row"):
        replace(Named(1), nam="there")


TYPED = """
from batchloom.records import Record, replace

class Place(Record):
    row: int

replace(Place(1), row=2).row + 1
replace(Place(1), column=2)
replace(Place(1), row="first")
"""


def test_a_type_checker_knows_what_can_be_replaced() -> None:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file=",
        "--cache-dir",
        os.devnull,
        "-c",
        TYPED,
    ]
    said = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    assert [line.partition(" ")[0] for line in said[:-1]] == ["<string>:8:", "<string>:9:"], said
    assert "column" in said[0] and "row" in said[1]


def test_records_are_equal_only_to_themselves_and_can_be_keys() -> None:
    place = Place(1)
    assert place == place and place != Place(1) and {place: 1}[place] == 1


def test_records_are_copied_and_pickled_as_they_are() -> None:
    place = Named(1, 2, {"a": 1}, name="there")
    for made in (copy.deepcopy(place), pickle.loads(pickle.dumps(place))):
        assert vars(made) == vars(place) and made.marks is not place.marks

"""The conformance kit: a good model passes, and for each check there is a bad one that does not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from batchloom.testing.checks import CHECKS
from batchloom.testing.command import check_model
from batchloom.testing.promises import BrokenPromise, NotApplicable
from batchloom.testing.subject import Subject

CODE = Path(__file__).with_name("kit_models.py").read_text(encoding="utf-8")

# For each check the bad models and what is seen of them.
BAD = [
    ("made_from_its_config", "MadeFromItsConfig", "'sizes': [1, 3]"),
    ("unknown_config_keys", "UnknownConfigKeys", "taken without a word"),
    ("config_is_listed", "ConfigIsListed", "['sizes']"),
    ("core_keys", "CoreKeys", "no option 'build'"),
    ("not_built", "NotBuilt", "it predicted array([0."),
    ("static_and_dynamic", "StaticAndDynamic", "AttributeError: 'NoneType'"),
    ("models_share_nothing", "ModelsShareNothing", "after another model was trained"),
    ("build_and_load", "BuildAndLoad", "no attribute 'scale'"),
    ("unknown_arguments", "UnknownArguments", "no_such_train=1) was taken without a word"),
    ("trains_and_predicts", "TrainsAndPredicts", "the variance of one item"),
    ("learns", "Learns", "the most frequent class has"),
    ("predicting_changes_nothing", "PredictingChangesNothing", "asked a second time"),
    ("leaves_its_data_alone", "LeavesItsDataAlone", "train changed x"),
    ("leaves_its_data_alone", "KeepsItsData", "overwritten after the step"),
    ("same_with_the_same_seed", "SameWithTheSameSeed", "trained again with seed="),
    ("abandoned_runs", "AbandonedRuns", "a run is going on"),
    ("same_with_prefetch", "SameWithPrefetch", "with prefetch=4"),
    ("thread_safe", "ThreadSafe", "threads got other predictions"),
    ("process_pools", "ProcessPools", "its class cannot be pickled"),
    ("saved_and_loaded_elsewhere", "SavedAndLoadedElsewhere", "KeyError: 'sums'"),
    ("saving_changes_nothing", "SavingChangesNothing", "after it was saved"),
    ("interrupted_saves", "InterruptedSaves", "on a full disk save() raised nothing"),
    ("corrupt_files", "CorruptFiles", "is halved, and predicts something else"),
    ("no_pickles_in_files", "NoPicklesInFiles", "state is a pickle"),
    ("resources_released", "ResourcesReleased", "temporary file forgotten-"),
    ("resources_released", "LeavesAThread", "thread 'forgotten'"),
    ("leaves_the_process_alone", "LeavesTheProcessAlone", "NumPy's global random state"),
]


@pytest.fixture
def subject(install: Callable[..., Path]) -> Callable[[str], Subject]:
    """A model of the package beside this file, installed."""
    names = {"Centroids", *(name for _, name, _ in BAD)}
    points = {f"kit/{name}": f"kit_models:{name}" for name in names}
    install("batchloom-kit", models=points, kit_models=CODE)
    return lambda name: Subject(f"kit/{name}", {"sizes": [1]})


def test_every_check_has_a_bad_model() -> None:
    assert {check for check, _, _ in BAD} == set(CHECKS)


def test_a_good_model_keeps_every_promise(subject: Callable[[str], Subject]) -> None:
    outcomes = check_model(subject("Centroids"))
    assert {each.check: each.seen for each in outcomes if each.state != "kept"} == {}


@pytest.mark.parametrize(("check", "name", "seen"), BAD, ids=[name for _, name, _ in BAD])
def test_a_bad_model_is_found_out(
    subject: Callable[[str], Subject], tmp_path: Path, check: str, name: str, seen: str
) -> None:
    with pytest.raises(BrokenPromise) as caught:
        CHECKS[check](subject(name), tmp_path)
    message = str(caught.value)
    assert seen in caught.value.seen
    assert message.startswith(f"kit/{name} breaks a promise")
    assert f"promised: {CHECKS[check].promise}" in message
    assert f"written:  docs/model-contract.md#{check.replace('_', '-')}" in message


def test_a_flag_leaves_a_check_out_and_says_so(
    subject: Callable[[str], Subject], tmp_path: Path
) -> None:
    from dataclasses import replace

    found = replace(subject("UnknownConfigKeys"), checks_config=False)
    with pytest.raises(NotApplicable, match="checks_config = False: the model takes any key"):
        CHECKS["unknown_config_keys"](found, tmp_path)


UNDER_PYTEST = """
    import pytest
    from batchloom.testing import ModelTests

    class TestSilenced(ModelTests):
        name = "kit/NotBuilt"

        def test_not_built(self):
            pass

        test_learns = None

    class TestExcused(ModelTests):
        name = "kit/NotBuilt"

        @pytest.mark.xfail(reason="known: see issue 12", strict=True)
        def test_not_built(self, subject, tmp_path):
            super().test_not_built(subject, tmp_path)

    class TestWithFixture(ModelTests):
        name = "kit/Centroids"

        @pytest.fixture
        def model_config(self):
            return {"sizes": [2]}

    class TestNameless(ModelTests):
        pass
"""


@pytest.mark.usefixtures("subject")
def test_under_pytest(tmp_path: Path) -> None:
    file = tmp_path / "test_kit.py"
    file.write_text(textwrap.dedent(UNDER_PYTEST))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", str(file), "-k",
         "overrides or not_built or learns or made_from"],
        capture_output=True, text=True, timeout=100, cwd=tmp_path, env={**os.environ},
    )  # fmt: skip
    said = ended.stdout
    silenced = "FAILED test_kit.py::TestSilenced::test_overrides_give_a_reason"
    assert silenced in said, said
    assert "TestSilenced.test_not_built overrides a test of the contract" in said
    assert "TestSilenced.test_learns overrides a test of the contract" in said
    assert "XFAIL test_kit.py::TestExcused::test_not_built - known: see issue 12" in said
    assert "PASSED test_kit.py::TestExcused::test_overrides_give_a_reason" in said
    assert "PASSED test_kit.py::TestWithFixture::test_made_from_its_config" in said
    assert "TestNameless names no model" in said
    assert "ModelTests::" not in said, "the base is not collected"


def test_the_kit_itself_needs_no_pytest() -> None:
    code = "import sys, batchloom.testing.command; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

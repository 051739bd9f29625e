"""ModelTests: the contract as a class of pytest tests, one for each promise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from batchloom.testing.checks import CHECKS
from batchloom.testing.overrides import unexcused_overrides
from batchloom.testing.promises import NotApplicable
from batchloom.testing.subject import Subject


class ModelTests:
    """Derive from it, name a model, and pytest tests the whole contract on it.

    A test may be overridden only to say that it is known to fail, and why::

        @pytest.mark.xfail(reason="the library keeps its threads, see its issue 12", strict=True)
        def test_resources_released(self, subject, tmp_path):
            super().test_resources_released(subject, tmp_path)

    Attributes
    ----------
    name : str or type
        The registered name; or a class, which other processes must be able to import.
    config : mapping
        What the model is made from. Override the fixture `model_config` for one that has to be made
        at the time of the test.
    task : {"classification", "regression", "clustering", "transform", "image"}
        Which data it gets: see `batchloom.testing.samples.sample`.
    train_args : mapping of str to str, optional
        Arguments of ``train`` and the components (``"x"``, ``"y"``) that they get. Default:
        ``x="x", y="y"``, and ``x="x"`` for clustering and transform.
    train_options, predict_options : mapping
        Further arguments of ``train`` and ``predict``, such as ``{"output": "proba"}``.
    load_options : mapping
        Keywords that ``load_model`` needs for this model.
    n_epochs, batch_size : int
        How it is trained.
    can_train, can_save : bool
        Whether it can be trained, and saved.
    learns : bool
        Whether these few epochs are enough to do better than a guess.
    is_deterministic : bool
        Whether the same seed gives the same model.
    is_static : bool
        Whether it can be made without a first batch.
    checks_config : bool
        Whether it refuses keys of the config that it does not know.

    Examples
    --------
    ::

        from batchloom.testing import ModelTests

        class TestForecaster(ModelTests):
            name = "acme/Forecaster"
            config = {"depth": 3}
            task = "regression"
    """

    name: ClassVar[str | type]
    config: ClassVar[Mapping[str, Any]] = {}
    task: ClassVar[str] = "classification"
    train_args: ClassVar[Mapping[str, str] | None] = None
    train_options: ClassVar[Mapping[str, Any]] = {}
    predict_options: ClassVar[Mapping[str, Any]] = {}
    load_options: ClassVar[Mapping[str, Any]] = {}
    n_epochs: ClassVar[int] = 3
    batch_size: ClassVar[int] = 16
    can_train: ClassVar[bool] = True
    can_save: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    is_deterministic: ClassVar[bool] = True
    is_static: ClassVar[bool] = True
    checks_config: ClassVar[bool] = True

    @pytest.fixture
    def model_config(self) -> Mapping[str, Any]:
        """The config; override it for one that has to be made at the time of the test."""
        return self.config

    @pytest.fixture
    def subject(self, model_config: Mapping[str, Any]) -> Subject:
        """The model under test."""
        if not hasattr(self, "name"):
            pytest.fail(f"{type(self).__name__} names no model: name = 'acme/Net'", pytrace=False)
        return Subject(
            self.name,
            model_config,
            self.task,
            self.train_args,
            self.train_options,
            self.predict_options,
            self.n_epochs,
            self.batch_size,
            self.load_options,
            self.can_train,
            self.can_save,
            self.learns,
            self.is_deterministic,
            self.is_static,
            self.checks_config,
        )

    def test_overrides_give_a_reason(self) -> None:
        """Test that no promise is silenced: see the class."""
        faults = unexcused_overrides(type(self), ModelTests)
        assert not faults, "; ".join(faults)

    def test_made_from_its_config(self, subject: Subject, tmp_path: Path) -> None:
        """Build it, and compare the config with what it was."""
        self._check("made_from_its_config", subject, tmp_path)

    def test_unknown_config_keys(self, subject: Subject, tmp_path: Path) -> None:
        """Add a key that nobody has."""
        self._check("unknown_config_keys", subject, tmp_path)

    def test_config_is_listed(self, subject: Subject, tmp_path: Path) -> None:
        """Compare describe_config with the config in use."""
        self._check("config_is_listed", subject, tmp_path)

    def test_core_keys(self, subject: Subject, tmp_path: Path) -> None:
        """Say build=True and load=False, which is what holds anyway."""
        self._check("core_keys", subject, tmp_path)

    def test_not_built(self, subject: Subject, tmp_path: Path) -> None:
        """Ask a model that is neither built nor loaded nor trained."""
        self._check("not_built", subject, tmp_path)

    def test_static_and_dynamic(self, subject: Subject, tmp_path: Path) -> None:
        """Run a pipeline of each mode."""
        self._check("static_and_dynamic", subject, tmp_path)

    def test_models_share_nothing(self, subject: Subject, tmp_path: Path) -> None:
        """Train one, train another on other data, and ask the first again."""
        self._check("models_share_nothing", subject, tmp_path)

    def test_build_and_load(self, subject: Subject, tmp_path: Path) -> None:
        """Load through the config, with and without build."""
        self._check("build_and_load", subject, tmp_path)

    def test_unknown_arguments(self, subject: Subject, tmp_path: Path) -> None:
        """Misspell an argument of predict, and of train."""
        self._check("unknown_arguments", subject, tmp_path)

    def test_trains_and_predicts(self, subject: Subject, tmp_path: Path) -> None:
        """Train with a short last batch, and predict in a pipeline and outside of one."""
        self._check("trains_and_predicts", subject, tmp_path)

    def test_learns(self, subject: Subject, tmp_path: Path) -> None:
        """Compare accuracy with the most frequent class, squared error with the mean."""
        self._check("learns", subject, tmp_path)

    def test_predicting_changes_nothing(self, subject: Subject, tmp_path: Path) -> None:
        """Ask three times, with other data in between."""
        self._check("predicting_changes_nothing", subject, tmp_path)

    def test_leaves_its_data_alone(self, subject: Subject, tmp_path: Path) -> None:
        """Look at the arrays after each call, then overwrite them, as a batch that is reused would."""
        self._check("leaves_its_data_alone", subject, tmp_path)

    def test_same_with_the_same_seed(self, subject: Subject, tmp_path: Path) -> None:
        """Train twice, with NumPy's and Python's global random numbers elsewhere."""
        self._check("same_with_the_same_seed", subject, tmp_path)

    def test_abandoned_runs(self, subject: Subject, tmp_path: Path) -> None:
        """Break out of a run in the middle of an epoch, then train anew and use the broken one."""
        self._check("abandoned_runs", subject, tmp_path)

    def test_same_with_prefetch(self, subject: Subject, tmp_path: Path) -> None:
        """Train without prefetch, with it, and with an executor of threads."""
        self._check("same_with_prefetch", subject, tmp_path)

    def test_thread_safe(self, subject: Subject, tmp_path: Path) -> None:
        """Ask from eight threads at once, which take turns as often as Python lets them."""
        self._check("thread_safe", subject, tmp_path)

    def test_process_pools(self, subject: Subject, tmp_path: Path) -> None:
        """Send the definition to another process and back, and train with a pool of spawned ones."""
        self._check("process_pools", subject, tmp_path)

    def test_saved_and_loaded_elsewhere(self, subject: Subject, tmp_path: Path) -> None:
        """Save, load in a new process, and compare to the bit."""
        self._check("saved_and_loaded_elsewhere", subject, tmp_path)

    def test_saving_changes_nothing(self, subject: Subject, tmp_path: Path) -> None:
        """Ask after saving; save and train the loaded model."""
        self._check("saving_changes_nothing", subject, tmp_path)

    def test_interrupted_saves(self, subject: Subject, tmp_path: Path) -> None:
        """Save over a file, killed in the middle, and then without room for what the model writes."""
        self._check("interrupted_saves", subject, tmp_path)

    def test_corrupt_files(self, subject: Subject, tmp_path: Path) -> None:
        """Load files that are cut, changed, or lack a part that their manifest does not miss either."""
        self._check("corrupt_files", subject, tmp_path)

    def test_no_pickles_in_files(self, subject: Subject, tmp_path: Path) -> None:
        """Look at every member, and into the archives among them."""
        self._check("no_pickles_in_files", subject, tmp_path)

    def test_resources_released(self, subject: Subject, tmp_path: Path) -> None:
        """Train, break off, save and load twice; the second time may leave nothing new."""
        self._check("resources_released", subject, tmp_path)

    def test_leaves_the_process_alone(self, subject: Subject, tmp_path: Path) -> None:
        """Compare what belongs to everybody before and after a training."""
        self._check("leaves_the_process_alone", subject, tmp_path)

    @staticmethod
    def _check(name: str, subject: Subject, folder: Path) -> None:
        __tracebackhide__ = True
        try:
            CHECKS[name](subject, folder)
        except NotApplicable as exc:
            pytest.skip(str(exc))

"""Pipeline: a chain of steps over batches, which nothing changes, and what a run of it leaves."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack

from batchloom import checks
from batchloom.batch import Batch
from batchloom.dataset import Dataset
from batchloom.definition import DeclareModel, DeclareVariable, Definition, ImportModel
from batchloom.errors import (
    DefinitionError,
    TemplateError,
    UnknownArgumentError,
    UnknownVariableError,
)
from batchloom.expressions import evaluate
from batchloom.runtime.options import RunKeywords, RunOptions, check_batch_size
from batchloom.runtime.partners import check_partner
from batchloom.runtime.state import Failure, State
from batchloom.runtime.view import RunningPipeline, change_name
from batchloom.steps import (
    ActionStep,
    EvaluateStep,
    JoinStep,
    MergeStep,
    PredictStep,
    PrintVariable,
    RebatchStep,
    Step,
    TrainStep,
    WriteVariable,
    short,
)
from batchloom.variables import VariableDeclaration

if TYPE_CHECKING:
    from batchloom.variables import Variables

MODES = ("static", "dynamic")
Metric = Callable[[Any, Any], Any]
MakeData = Callable[..., Mapping[str, Any]]


class Pipeline:
    """A chain of steps over batches.

    Every builder method and operator returns a new pipeline and leaves this one as it is. Any action
    of the batch class is a builder method: ``pipeline.scale(by=16)``. Variables, models and the place
    in the data belong to one pipeline object; only static models are shared with the pipelines that
    are built from it.

    Parameters
    ----------
    config : mapping, optional
        Options that steps and models can refer to as ``C.name``.

    Examples
    --------
    >>> template = Pipeline().scale().train_model("clf", x="images", y="labels")
    >>> train = (template << digits.train).run(64, shuffle=1, n_epochs=10, prefetch=4)
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        if config is not None and not isinstance(config, Mapping):
            raise DefinitionError(f"a pipeline's config is a mapping, not {config!r}")
        self._definition = Definition(config=dict(config or {}))
        self._state = State(self._definition)
        self._iteration: tuple[RunOptions, Iterator[Batch]] | None = None

    # Building: actions and operators

    def __getattr__(self, name: str) -> Callable[..., Pipeline]:
        if name.startswith("_"):
            raise AttributeError(name)
        if self.dataset is not None:
            checks.check_action_name(name, self.dataset.batch_class)

        def add_action(*args: Any, **kwargs: Any) -> Pipeline:
            return self._then(ActionStep(name, args, kwargs))

        add_action.__name__ = add_action.__qualname__ = name
        return add_action

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *checks.actions_of(self.dataset)})

    def __add__(self, other: Pipeline) -> Pipeline:
        """All steps of this pipeline, then all of the other one."""
        if not isinstance(other, Pipeline):
            return NotImplemented
        return self._made(self._definition.joined(other._definition))

    def __mul__(self, times: int) -> Pipeline:
        """All steps, several times to each batch; 0 times does nothing."""
        if isinstance(times, bool) or not isinstance(times, int) or times < 0:
            raise DefinitionError(f"pipeline * {times!r}: a pipeline is repeated 0 or more times")
        return self._made(self._definition.repeated(times))

    def __matmul__(self, probability: float) -> Pipeline:
        """All steps or none of them, drawn for each batch from the batch's own generator."""
        if not isinstance(probability, (int, float)) or not 0 <= probability <= 1:
            raise DefinitionError(f"pipeline @ {probability!r}: a probability is between 0 and 1")
        return self._made(self._definition.chanced(float(probability)))

    def __lshift__(self, dataset: Dataset) -> Pipeline:
        """The same steps over a dataset."""
        if not isinstance(dataset, Dataset):
            raise DefinitionError(
                f"pipeline << {short(dataset)}: a pipeline is linked to a Dataset"
            )
        return self._made(replace(self._definition, dataset=dataset))

    def __rrshift__(self, dataset: Dataset) -> Pipeline:
        """``dataset >> pipeline``: the same as ``pipeline << dataset``."""
        return self << dataset

    def __enter__(self) -> Pipeline:
        """``with Pipeline() as p:`` names an empty pipeline to build from."""
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def join(self, *pipelines: Pipeline) -> Pipeline:
        """Hand the next action batches of other pipelines that hold the same ids.

        Parameters
        ----------
        *pipelines : Pipeline
            Linked to datasets that have the ids of this one. Their batches come, in this order, as the
            first arguments after ``self``.
        """
        self._check_partners(pipelines, "join")
        return self._then(JoinStep(pipelines))

    def merge(self, *pipelines: Pipeline) -> Pipeline:
        """Add the items of other pipelines' batches to each batch: the k-th ones to the k-th.

        Parameters
        ----------
        *pipelines : Pipeline
            Linked to datasets with the same components. They begin again when they are used up.
        """
        self._check_partners(pipelines, "merge")
        return self._then(MergeStep(pipelines))

    def rebatch(self, batch_size: int) -> Pipeline:
        """Put the items into batches of another size; no batch crosses the end of an epoch.

        Parameters
        ----------
        batch_size : int
            The size of all batches from here on, but for the last of an epoch, which may be smaller.
        """
        return self._then(RebatchStep(check_batch_size(batch_size)))

    # Building: variables

    def init_variable(
        self,
        name: str,
        default: Any = None,
        init: Callable[[], Any] | None = None,
        init_on_each_run: Any = None,
    ) -> Pipeline:
        """Declare a variable.

        Parameters
        ----------
        name : str
        default : object, optional
            Its first value. Each pipeline gets a deep copy.
        init : callable, optional
            Makes its first value, in place of `default`.
        init_on_each_run : callable, object or bool, optional
            Makes its value when a run begins (a callable), or is copied then (anything else); ``True``
            goes back to `default` or `init`. Without it the value is kept from run to run.
        """
        return self._then(
            DeclareVariable(VariableDeclaration(name, default, init, init_on_each_run))
        )

    def init_variables(
        self, variables: Mapping[str, Mapping[str, Any]] | Iterable[str]
    ) -> Pipeline:
        """Declare several variables.

        Parameters
        ----------
        variables : mapping of str to dict, or iterable of str
            Names, with the keywords of `init_variable` for each if it is a mapping.
        """
        options = variables if isinstance(variables, Mapping) else {each: {} for each in variables}
        declared = [
            DeclareVariable(VariableDeclaration(name, **_variable_options(name, each)))
            for name, each in options.items()
        ]
        return self._then(*declared)

    def set_variable(self, name: str, value: Any) -> Pipeline:
        """Add a step that gives a variable a value, which may be an expression."""
        return self._then(WriteVariable(name, value, "set"))

    assign_variable = set_variable

    def inc_variable(self, name: str, by: Any = 1) -> Pipeline:
        """Add a step that adds to a variable."""
        return self._then(WriteVariable(name, by, "inc"))

    def update_variable(self, name: str, value: Any, mode: str = "set") -> Pipeline:
        """Add a step that changes a variable.

        Parameters
        ----------
        name : str
        value : object
            May be an expression.
        mode : {"set", "inc", "append", "extend", "update"}
        """
        return self._then(WriteVariable(name, value, change_name(mode)))

    def delete_variable(self, name: str) -> Pipeline:
        """Take a variable's declaration out of the pipeline."""
        if name not in self._definition.variables:
            raise UnknownVariableError("variable", name, self._definition.variables)
        return self._made(self._definition.without_variable(name))

    def print_variable(self, name: str) -> Pipeline:
        """Add a step that prints a variable."""
        return self._then(PrintVariable(name))

    # Building: models

    def init_model(
        self,
        mode: str,
        model: Any,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Pipeline:
        """Declare a model.

        Parameters
        ----------
        mode : {"static", "dynamic"}
            A static model is made now, can see this pipeline, and is shared by all pipelines that are
            built from it. A dynamic model is made by each linked pipeline when a run first uses it, and
            sees that batch.
        model : str, type or object
            A registered name such as ``"sklearn/SGDClassifier"``, a model class, or an object or class
            of a library whose backend is installed.
        name : str, optional
            What the pipeline's steps call it. Default: the class name.
        config : mapping, optional
            The model's options; expressions in it are evaluated when the model is made. ``build``,
            ``load`` and ``path`` mean the same for every model.

        Raises
        ------
        DefinitionError
            For a wrong mode, or a name that is taken.
        PluginError, ModelError
            For a model that cannot be found, imported or used.
        """
        _check_mode(mode, model)
        from batchloom.models.spec import ModelSpec

        spec = ModelSpec.resolve(model, name, config)
        declared = DeclareModel(mode, spec.name, spec)
        made = self._then(declared)
        if mode == "dynamic":
            return made
        view = RunningPipeline(made._state)
        handle = spec.make(evaluate(dict(spec.config), None, view), pipeline=view)
        return self._then(replace(declared, handle=handle))

    def import_model(self, name: str, pipeline: Pipeline) -> Pipeline:
        """Declare a model that another pipeline makes; it is fetched when a run begins.

        Parameters
        ----------
        name : str
            What both pipelines call it.
        pipeline : Pipeline
            The pipeline that makes (or imports) it.
        """
        if not isinstance(pipeline, Pipeline):
            raise DefinitionError(
                f"import_model({name!r}, ...) takes a pipeline, not {short(pipeline)}"
            )
        checks.check_import(name, pipeline._definition)
        return self._then(ImportModel(name, pipeline))

    def train_model(
        self,
        name: str,
        make_data: MakeData | None = None,
        *,
        save_to: Any = None,
        append_to: Any = None,
        **arguments: Any,
    ) -> Pipeline:
        """Add a step that trains a model on each batch.

        Parameters
        ----------
        name : str
            As declared by `init_model` or `import_model`.
        make_data : callable, optional
            Takes the batch and the model, returns a dict of arguments for the model.
        save_to : str, B.name, V.name or sequence of them, optional
            Where the output goes: a component if the batch has one of that name, else a variable;
            ``B.name`` makes a component. A sequence takes a sequence of outputs apart.
        append_to : str, V.name or sequence of them, optional
            Variables that the output is appended to, in place of `save_to`.
        **arguments : object
            Arguments of the model. A string that names a component or a variable stands for its value,
            also inside dicts, lists and tuples.
        """
        return self._then(TrainStep(*_model_step(name, make_data, arguments, save_to, append_to)))

    def predict_model(
        self,
        name: str,
        make_data: MakeData | None = None,
        *,
        save_to: Any = None,
        append_to: Any = None,
        **arguments: Any,
    ) -> Pipeline:
        """Add a step that predicts with a model; the parameters are those of `train_model`."""
        return self._then(PredictStep(*_model_step(name, make_data, arguments, save_to, append_to)))

    def evaluate_model(
        self,
        name: str,
        make_data: MakeData | None = None,
        *,
        y: Any,
        metrics: Any,
        save_to: Any = None,
        append_to: Any = None,
        **arguments: Any,
    ) -> Pipeline:
        """Add a step that gathers targets and predictions, and computes metrics when the run ends.

        Parameters
        ----------
        name : str
        make_data : callable, optional
            As in `train_model`.
        y : str or expression
            The targets: a component or a variable.
        metrics : mapping of str to callable or str, str, or sequence of str
            Functions ``f(y_true, y_pred)`` of all targets and predictions of the run, in order. Strings
            name metrics of an installed backend, such as ``"accuracy_score"`` of ``sklearn.metrics``.
        save_to, append_to : str or V.name
            The variable that gets the dict of results. One of the two is needed.
        **arguments : object
            Arguments of the model's prediction, as in `train_model`.
        """
        step = _model_step(name, make_data, arguments, save_to, append_to)
        if save_to is None and append_to is None:
            raise DefinitionError(
                "evaluate_model needs save_to= or append_to=, a variable for its results"
            )
        return self._then(EvaluateStep(*step, y, _metrics(metrics)))

    # Running

    def run(
        self, batch_size: int | None = None, *, lazy: bool = False, **options: Unpack[RunKeywords]
    ) -> Pipeline:
        """Run over the whole dataset.

        Parameters
        ----------
        batch_size : int
            The number of items in a batch; the last one of an epoch may have fewer.
        shuffle : bool, int, Generator, RandomState or callable, default False
            Whether, and from what seed, each epoch visits the items in an order of its own.
        n_epochs : int or None, default 1
            None runs without end, in `gen_batch` and `next_batch`.
        drop_last : bool, default False
            Leave out a last batch that is not full.
        prefetch : int, default 0
            How many batches are prepared ahead, in threads. The result is the same.
        executor : concurrent.futures.Executor, optional
            Prepares batches there instead: threads, or processes that are spawned.
        seed : int, optional
            What every random number of the run comes from. Default: the int given as `shuffle`, else a
            fresh one, which `seed` tells afterwards.
        bar : bool, default False
            Show a progress bar.
        on_error : {"raise", "skip"}, default "raise"
            ``"skip"`` leaves out a batch that fails, and records it in `failures`.
        lazy : bool, default False
            Do not run; return a pipeline that remembers these options, for a ``run()`` without any.

        Returns
        -------
        Pipeline
            This pipeline.
        """
        if lazy:
            stored = RunOptions.gather(self._definition.run_options, batch_size, options, "run")
            return self._made(replace(self._definition, run_options=stored))
        chosen = self._options(batch_size, options, "run")
        if chosen.n_epochs is None:
            raise DefinitionError(
                "run(n_epochs=None) would never end: iterate with gen_batch or next_batch"
            )
        for _ in self._batches(chosen):
            pass
        return self

    def gen_batch(
        self, batch_size: int | None = None, **options: Unpack[RunKeywords]
    ) -> Iterator[Batch]:
        """Iterate over the batches, each with all steps done; the parameters are those of `run`."""
        return self._batches(self._options(batch_size, options, "gen_batch"))

    def next_batch(self, batch_size: int | None = None, **options: Unpack[RunKeywords]) -> Batch:
        """Give the next batch, from one call to the next; the parameters are those of `run`.

        Raises
        ------
        StopIteration
            When the epochs are over. The next call begins anew.
        DefinitionError
            If the options are not those the iteration was begun with: `reset` first.
        """
        if self._iteration is None or batch_size is not None or options:
            chosen = self._options(batch_size, options, "next_batch")
            if self._iteration is None:
                self._iteration = chosen, self._batches(chosen)
            elif not chosen.same_as(self._iteration[0]):
                raise DefinitionError(
                    f"next_batch was begun with {self._iteration[0].describe()}, and is now asked for "
                    f"{chosen.describe()}: call reset() to begin anew"
                )
        try:
            return next(self._iteration[1])
        except BaseException:
            self._iteration = None
            raise

    def reset(self, *what: str) -> Pipeline:
        """Go back to the beginning.

        Parameters
        ----------
        *what : {"iteration", "variables", "models", "all"}
            Default: the place in the data that `next_batch` has come to.
        """
        known = ("iteration", "variables", "models", "all")
        for each in what:
            if each not in known:
                raise UnknownArgumentError("argument", each, known, "of reset")
        chosen = known[:3] if "all" in what else what or ("iteration",)
        if "iteration" in chosen and self._iteration is not None:
            self._iteration[1].close()  # type: ignore[attr-defined]
            self._iteration = None
        for each in chosen:
            if each != "iteration":
                self._state.forget(each)
        return self

    # Looking

    @property
    def dataset(self) -> Dataset | None:
        """The dataset, or None in a template."""
        return self._definition.dataset

    @property
    def config(self) -> Mapping[str, Any]:
        """The config, which cannot be changed."""
        return MappingProxyType(dict(self._definition.config))

    @property
    def variables(self) -> Variables:
        """The variables, a mapping by name."""
        return self._state.variables

    def get_variable(self, name: str) -> Any:
        """Give the value of a variable."""
        return self._state.variables[name]

    @property
    def models(self) -> Mapping[str, Any]:
        """The models that exist, by name."""
        there = {name: self._state.find(name) for name in self._definition.models}
        return {name: each.model for name, each in there.items() if each is not None}

    def get_model_by_name(self, name: str) -> Any:
        """Give a model.

        Raises
        ------
        UnknownModelError
            If the pipeline declares no such model.
        ModelNotBuiltError
            If it is dynamic and no run has used it yet.
        """
        return self._state.handle(name).model

    def save_model(self, name: str, path: str | Path, **kwargs: Any) -> None:
        """Save a model, now, into one file.

        Parameters
        ----------
        name : str
        path : str or Path
        **kwargs : object
            Options of the model's own.
        """
        self._state.handle(name).save(path, **kwargs)

    @property
    def failures(self) -> list[Failure]:
        """The batches that the last run left out, with their exceptions."""
        return self._state.failures

    @property
    def seed(self) -> int | None:
        """The seed of the last run."""
        return self._state.seed

    def describe(self) -> str:
        """Tell in words what the pipeline does: dataset, steps and models."""
        from batchloom.description import describe

        return describe(self)

    def __repr__(self) -> str:
        return self.describe()

    def _repr_html_(self) -> str:
        from batchloom.description import describe_html

        return describe_html(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"_definition": self._definition, "_state": self._state, "_iteration": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _then(self, *steps: Step) -> Pipeline:
        return self._made(self._definition.then(*steps))

    def _made(self, definition: Definition) -> Pipeline:
        if definition.dataset is not None:
            checks.check_definition(definition)
        else:
            checks.check_shape(definition.steps)
        made = object.__new__(type(self))
        made._definition = definition
        made._state = State(definition)
        made._iteration = None
        return made

    def _check_partners(self, pipelines: tuple[Any, ...], verb: str) -> None:
        if not pipelines:
            raise DefinitionError(f"{verb} takes one or more pipelines")
        for each in pipelines:
            check_partner(each, verb)

    def _options(self, batch_size: int | None, given: Mapping[str, Any], method: str) -> RunOptions:
        if self.dataset is None:
            raise TemplateError(
                f"{method}: this pipeline is a template, linked to no dataset: (template << dataset).{method}"
                "(...)"
            )
        return RunOptions.gather(self._definition.run_options, batch_size, given, method)

    def _batches(self, options: RunOptions) -> Iterator[Batch]:
        from batchloom.runtime.run import Run

        checks.check_definition(self._definition)
        checks.check_complete(self._definition)
        run = Run(self._definition, self._state, options)
        if run.is_empty and len(self._dataset_of()) > 0:
            warnings.warn(
                f"drop_last=True leaves no batch: batch_size={options.batch_size} is more than the "
                f"{len(self._dataset_of())} items",
                stacklevel=3,
            )
        return run.batches()

    def _dataset_of(self) -> Dataset:
        assert self.dataset is not None
        return self.dataset


Dataset.pipeline_class = Pipeline


def _check_mode(mode: Any, model: Any) -> None:
    if isinstance(mode, str) and mode in MODES:
        return
    swapped = isinstance(model, str) and model in MODES
    near = (
        f": did you mean {mode.lower()!r}?"
        if isinstance(mode, str) and mode.lower() in MODES
        else ""
    )
    hint = "the mode comes first: " if swapped else ""
    raise DefinitionError(
        f"init_model(mode={short(mode)}){near} {hint}the mode is 'static' (made now, shared) or 'dynamic' "
        "(made from the first batch)"
    )


def _model_step(
    name: Any, make_data: Any, arguments: dict[str, Any], save_to: Any, append_to: Any
) -> tuple[str, MakeData | None, dict[str, Any], Any, Any]:
    if not isinstance(name, str):
        raise DefinitionError(f"a model is called by its name, a string, not {short(name)}")
    if make_data is not None and not callable(make_data):
        raise DefinitionError(
            f"make_data={short(make_data)}: give a function of a batch and a model. Data is given by "
            "keyword: x='images'"
        )
    if save_to is not None and append_to is not None:
        warnings.warn(
            f"both save_to={short(save_to)} and append_to={short(append_to)} are given for model {name!r}: "
            "only append_to is used",
            stacklevel=3,
        )
        save_to = None
    return name, make_data, arguments, save_to, append_to


def _metrics(metrics: Any) -> dict[str, Metric]:
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Mapping):
        metrics = {each if isinstance(each, str) else each.__name__: each for each in metrics}
    if not metrics:
        raise DefinitionError("evaluate_model needs at least one metric")
    return {name: _metric(name, each) for name, each in metrics.items()}


def _metric(name: str, metric: Any) -> Metric:
    if isinstance(metric, str):
        from batchloom.models.metrics import get_metric

        return get_metric(metric)
    if not callable(metric):
        raise DefinitionError(
            f"metric {name!r} is {short(metric)}: give f(y_true, y_pred) or a name"
        )
    found: Metric = metric
    return found


def _variable_options(name: str, options: Any) -> dict[str, Any]:
    known = ("default", "init", "init_on_each_run")
    if not isinstance(options, Mapping):
        raise DefinitionError(
            f"init_variables: {name!r} is given {short(options)}; give a dict of {', '.join(known)}"
        )
    for each in options:
        if each not in known:
            raise UnknownArgumentError("argument", each, known, f"of variable {name!r}")
    return dict(options)

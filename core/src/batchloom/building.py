"""Building pipelines: the methods and operators that add to a definition, and return a new pipeline."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from batchloom import checks
from batchloom.dataset import Dataset
from batchloom.definition import DeclareModel, DeclareVariable, Definition, ImportModel
from batchloom.errors import DefinitionError, UnknownArgumentError, UnknownVariableError, nearest
from batchloom.expressions import Variable, evaluate
from batchloom.records import replace
from batchloom.runtime.options import check_batch_size
from batchloom.runtime.state import State
from batchloom.runtime.view import RunningPipeline
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
from batchloom.variables import VariableDeclaration, change_name

MODES = ("static", "dynamic")
Metric = Callable[[Any, Any], Any]
MakeData = Callable[..., Mapping[str, Any]]


class Builder:
    """The building half of `Pipeline`: an immutable definition, and the state of one object.

    Every method returns a new pipeline and leaves this one as it is.
    """

    _definition: Definition
    _state: State
    _known: checks.Known | None = None

    @property
    def dataset(self) -> Dataset | None:
        """The dataset, or None in a template."""
        return self._definition.dataset

    # Building: actions and operators

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        if self.dataset is not None:
            checks.check_action_name(name, self.dataset.batch_class)

        def add_action(*args: Any, **kwargs: Any) -> Any:
            return self._then(ActionStep(name, args, kwargs))

        add_action.__name__ = add_action.__qualname__ = name
        return add_action

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *checks.actions_of(self.dataset)})

    def __add__(self, other: Builder) -> Self:
        """All steps of this pipeline, then all of the other one."""
        if not isinstance(other, Builder):
            return NotImplemented
        return self._made(self._definition.joined(other._definition))

    def __mul__(self, times: int) -> Self:
        """All steps, several times to each batch; 0 times does nothing."""
        if isinstance(times, bool) or not isinstance(times, numbers.Integral) or times < 0:
            raise DefinitionError(f"pipeline * {times!r}: a pipeline is repeated 0 or more times")
        return self._made(self._definition.repeated(int(times)))

    def __matmul__(self, probability: float) -> Self:
        """All steps or none of them, drawn for each batch from the batch's own generator."""
        if not isinstance(probability, numbers.Real) or not 0 <= probability <= 1:
            raise DefinitionError(f"pipeline @ {probability!r}: a probability is between 0 and 1")
        return self._made(self._definition.chanced(float(probability)))

    def __lshift__(self, dataset: Dataset) -> Self:
        """The same steps over a dataset."""
        if not isinstance(dataset, Dataset):
            raise DefinitionError(
                f"pipeline << {short(dataset)}: a pipeline is linked to a Dataset"
            )
        return self._made(replace(self._definition, dataset=dataset))

    def __rrshift__(self, dataset: Dataset) -> Self:
        """``dataset >> pipeline``: the same as ``pipeline << dataset``."""
        return self << dataset

    def __enter__(self) -> Self:
        """``with Pipeline() as p:`` names an empty pipeline to build from."""
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def join(self, *pipelines: Builder) -> Self:
        """Hand the next action batches of other pipelines that hold the same ids.

        Parameters
        ----------
        *pipelines : Pipeline
            Linked to datasets that have the ids of this one. Their batches come, in this order, as the
            first arguments after ``self``.
        """
        self._check_partners(pipelines, "join")
        return self._then(JoinStep(pipelines))

    def merge(self, *pipelines: Builder) -> Self:
        """Add the items of other pipelines' batches to each batch: the k-th ones to the k-th.

        Parameters
        ----------
        *pipelines : Pipeline
            Linked to datasets with the same components. They begin again when they are used up.
        """
        self._check_partners(pipelines, "merge")
        return self._then(MergeStep(pipelines))

    def rebatch(self, batch_size: int) -> Self:
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
    ) -> Self:
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

    def init_variables(self, variables: Mapping[str, Mapping[str, Any]] | Iterable[str]) -> Self:
        """Declare several variables.

        Parameters
        ----------
        variables : mapping of str to dict, or iterable of str
            Names, with the keywords of `init_variable` for each if it is a mapping.
        """
        if isinstance(variables, str):
            raise DefinitionError(
                f"init_variables takes several names, not {variables!r}: init_variable({variables!r})"
            )
        options = variables if isinstance(variables, Mapping) else {each: {} for each in variables}
        declared = [
            DeclareVariable(VariableDeclaration(name, **_variable_options(name, each)))
            for name, each in options.items()
        ]
        return self._then(*declared)

    def set_variable(self, name: str, value: Any) -> Self:
        """Add a step that gives a variable a value, which may be an expression."""
        return self._then(WriteVariable(name, value, "set"))

    assign_variable = set_variable

    def inc_variable(self, name: str, by: Any = 1) -> Self:
        """Add a step that adds to a variable."""
        return self._then(WriteVariable(name, by, "inc"))

    def update_variable(self, name: str, value: Any, mode: str = "set") -> Self:
        """Add a step that changes a variable.

        Parameters
        ----------
        name : str
        value : object
            May be an expression.
        mode : {"set", "inc", "append", "extend", "update"}
        """
        return self._then(WriteVariable(name, value, change_name(mode)))

    def delete_variable(self, name: str) -> Self:
        """Take a variable's declaration out of the pipeline."""
        if name not in self._definition.variables:
            raise UnknownVariableError("variable", name, self._definition.variables)
        return self._made(self._definition.without_variable(name))

    def print_variable(self, name: str) -> Self:
        """Add a step that prints a variable."""
        return self._then(PrintVariable(name))

    # Building: models

    def init_model(
        self,
        mode: str,
        model: Any,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Self:
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

    def import_model(self, name: str, pipeline: Builder) -> Self:
        """Declare a model that another pipeline makes; it is fetched when a run begins.

        Parameters
        ----------
        name : str
            What both pipelines call it.
        pipeline : Pipeline
            The pipeline that makes (or imports) it.
        """
        if not isinstance(pipeline, Builder):
            raise DefinitionError(
                f"import_model({short(name)}, {short(pipeline)}) takes a pipeline, after the model's name"
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
    ) -> Self:
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
    ) -> Self:
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
    ) -> Self:
        """Add a step that gathers targets and predictions, and computes metrics when the run ends.

        Parameters
        ----------
        name : str
        make_data : callable, optional
            As in `train_model`.
        y : str or expression
            The targets: a component or a variable.
        metrics : mapping of str to callable or str, str, or sequence of str
            Functions ``f(y_true, y_pred)`` of all targets and predictions of the run, in order. Of
            several targets or outputs they get a tuple, or a dict, with the whole run of each. An axis
            of one column that only one of the two has is left out. Strings
            name metrics of an installed backend, such as ``"accuracy_score"`` of ``sklearn.metrics``.
        save_to, append_to : str or V.name
            The variable that gets the dict of results. One of the two is needed.
        **arguments : object
            Arguments of the model's prediction, as in `train_model`.
        """
        step = _model_step(name, make_data, arguments, save_to, append_to)
        if not isinstance(save_to if append_to is None else append_to, (str, Variable)):
            raise DefinitionError(
                "evaluate_model needs save_to= or append_to=, one variable for the dict of its results"
            )
        return self._then(EvaluateStep(*step, y, _metrics(metrics)))

    def _then(self, *steps: Step) -> Self:
        return self._made(self._definition.then(*steps), len(self._definition.steps))

    def _made(self, definition: Definition, checked: int = 0) -> Self:
        """Make a pipeline of a definition whose first so many steps are those of this one."""
        made = object.__new__(type(self))
        made._begin(definition)
        if definition.dataset is None:
            checks.check_shape(definition.steps[checked:])
        elif checked and self._known is not None:
            made._known = checks.check_added(definition, self._known, checked)
        else:
            made._known = checks.check_definition(definition)
        return made

    def _begin(self, definition: Definition) -> None:
        """Begin with a definition and a state of its own."""
        self._definition = definition
        self._state = State(definition)

    def _check_partners(self, pipelines: tuple[Any, ...], verb: str) -> None:
        if not pipelines:
            raise DefinitionError(f"{verb} takes one or more pipelines")
        for each in pipelines:
            checks.check_partner(each, verb)


def _check_mode(mode: Any, model: Any) -> None:
    if isinstance(mode, str) and mode in MODES:
        return
    swapped = isinstance(model, str) and model in MODES
    near = "" if swapped else nearest(str(mode), MODES)
    hint = " the mode comes first:" if swapped else ""
    raise DefinitionError(
        f"init_model(mode={short(mode)}){near}{hint} the mode is 'static' (made now, shared) or 'dynamic' "
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
    if not isinstance(metrics, Iterable):
        raise DefinitionError(
            f"metrics={short(metrics)}: give f(y_true, y_pred), a name, several of them, or a dict of "
            "names and functions"
        )
    if not isinstance(metrics, Mapping):
        metrics = _by_name(list(metrics))
    if not metrics:
        raise DefinitionError("evaluate_model needs at least one metric")
    return {name: _metric(name, each) for name, each in metrics.items()}


def _by_name(metrics: list[Any]) -> dict[str, Any]:
    names = [
        each if isinstance(each, str) else getattr(each, "__name__", short(each))
        for each in metrics
    ]
    if len(set(names)) < len(names):
        raise DefinitionError(
            f"two metrics of one name ({', '.join(names)}): give a dict of names and functions"
        )
    return dict(zip(names, metrics, strict=True))


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

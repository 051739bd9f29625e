"""The steps that call models: training, prediction, evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from batchloom.batch import Batch
from batchloom.columns import row_count, stack_rows
from batchloom.definition import DeclareModel, ImportModel
from batchloom.errors import DataError, DefinitionError
from batchloom.models.late import LateOutput
from batchloom.records import replace
from batchloom.runtime.arguments import Arguments
from batchloom.runtime.destinations import AppendingDestination, Destinations
from batchloom.runtime.operations import Operation
from batchloom.runtime.view import RunningPipeline
from batchloom.steps import EvaluateStep, ModelStep, PredictStep, TrainStep
from batchloom.variables import Variables

if TYPE_CHECKING:
    from batchloom.models.spec import ModelSpec
    from batchloom.runtime.plan import Surrounding


class ModelCall:
    """One step that calls a model, ready to be called with batches."""

    def __init__(self, step: ModelStep, around: Surrounding) -> None:
        spec = spec_of(step.model, around)
        self.step = step
        self.name = step.model
        self.arguments = Arguments(
            step.arguments, step.make_data, spec.data_args, spec.literal_args, around.definition
        )
        assert around.definition.dataset is not None
        self.arguments.warn_of_whole_columns(len(around.definition.dataset))
        self.destinations = Destinations(step.save_to, step.append_to, around.definition)
        self.destinations.warn_of_double_names(around.components)
        place = self.destinations.only
        self._check, self._store = place.check, place.store
        self._appended = place.name if isinstance(place, AppendingDestination) else None
        declared = around.definition.models.get(step.model)
        self._state = around.state
        self._static = declared.handle if isinstance(declared, DeclareModel) else None

    def operation(self, around: Surrounding) -> Operation:
        """Make the operation."""
        return Operation(
            self.step.describe(),
            self,
            self.step,
            in_order=self.in_order(around),
            here=True,
            reads=tuple(self.arguments.components(around.components)),
        )

    def in_order(self, around: Surrounding) -> bool:
        """Tell whether the call uses something shared."""
        return True

    def __call__(self, batch: Batch) -> Batch:
        raise NotImplementedError


class TrainCall(ModelCall):
    """``train_model``."""

    def __call__(self, batch: Batch) -> Batch:
        if not batch.size:
            return batch
        assert batch.pipeline is not None
        if type(batch.pipeline) is not RunningPipeline:
            batch.pipeline.handle(self.name)  # raises: there are no models yet
        return self.train(batch)

    def train(self, batch: Batch) -> Batch:
        """Train on a batch that has items."""
        # It acts in order: the batch's turn has come, and the state need not be asked for through it.
        state = self._state
        assert state is not None
        variables, appended = state.variables_now, self._appended
        if variables is None:
            variables = state.variables
        if appended is None or not variables.is_list(appended):
            self._check(batch, variables)
        handle = state.handles.get(self.name, self._static) or state.handle_for(self.name, batch)
        arguments = self.arguments
        if batch.components is arguments.plain_of:
            output = arguments.plain.train(handle, batch)
        else:
            output = handle.train((), arguments(batch, handle.model), batch)
        if type(output) is LateOutput:
            self.destinations.store_when_there(batch, output, variables)
        elif output is None:
            return batch
        elif appended is not None:
            variables.append(appended, output)
        else:
            self._store(batch, output, variables)
        return batch

    def operation(self, around: Surrounding) -> Operation:
        """Make the operation."""
        return replace(super().operation(around), call_filled=self.train)

    def deliver(self, variables: Variables, output: Any) -> None:
        """Store what the model gave at the end of an epoch."""
        self.destinations.store_late(variables, output)


class PredictCall(ModelCall):
    """``predict_model``."""

    def in_order(self, around: Surrounding) -> bool:
        shared = around.trained | around.written
        writes = self.destinations.written_variables(around.components)
        safe = spec_of(self.name, around).predict_is_thread_safe
        return (
            bool(writes)
            or self.name in shared
            or bool(self.arguments.variables() & shared)
            or not safe
        )

    def __call__(self, batch: Batch) -> Batch:
        self.destinations.check(batch)
        if not batch.size:
            self.destinations.store_nothing(batch)
            return batch
        output = self.predict(batch)
        if output is not None:
            self.destinations.store(batch, output)
        return batch

    def predict(self, batch: Batch) -> Any:
        """Predict."""
        assert batch.pipeline is not None
        handle = batch.pipeline.handle_to_read(self.name)
        return handle.predict((), self.arguments(batch, handle.model), batch)


class EvaluateCall(PredictCall):
    """``evaluate_model``: gathers, batch after batch, and computes when the run ends."""

    def __init__(self, step: EvaluateStep, around: Surrounding) -> None:
        super().__init__(step, around)
        self._metrics = step.metrics
        self._target = Arguments({"y": step.target}, None, ("y",), (), around.definition)
        options = spec_of(step.model, around).literal_args
        self._asks_several = any(
            isinstance(step.arguments.get(each), (list, tuple)) for each in options
        )
        self.gathered: list[tuple[Any, Any]] = []

    def in_order(self, around: Surrounding) -> bool:
        return True

    def __call__(self, batch: Batch) -> Batch:
        if batch.size:
            target = self._target(batch, None)["y"]
            several = isinstance(self.step.target, (list, tuple))  # type: ignore[attr-defined]
            true = _kept(target, batch.size, several)
            predicted = _kept(self.predict(batch), batch.size, self._asks_several)
            if true is not None:
                _check_rows("y has", true, batch.size)
            _check_rows("what the model predicts has", predicted, batch.size)
            self.gathered.append((true, predicted))
        return batch

    def finish(self, variables: Variables) -> None:
        """Compute the metrics over all targets and predictions of the run, in order, and store them."""
        if not self.gathered:
            return
        targets, predictions = zip(*self.gathered, strict=True)
        self.gathered = []
        true, predicted = _aligned(_joined(targets), _joined(predictions))
        values = {name: self._metric(name, true, predicted) for name in self._metrics}
        self.destinations.store_late(variables, values)

    def _metric(self, name: str, true: Any, predicted: Any) -> Any:
        try:
            return self._metrics[name](true, predicted)
        except Exception as exc:
            exc.add_note(
                f"in metric {name!r} of step {self.step.describe()}, at the end of the run"
            )
            raise


def _kept(value: Any, size: int, several: bool) -> Any:
    """Copy what is kept beyond the batch, since the next step may change it in place.

    A list is several outputs, which become a tuple, if several were asked for or it is not as long as
    the batch; else its elements are the items' values.
    """
    if isinstance(value, Mapping):
        return {key: _kept(each, size, several) for key, each in value.items()}
    if isinstance(value, tuple) or (isinstance(value, list) and (several or len(value) != size)):
        return tuple(_kept(each, size, several) for each in value)
    return value.copy() if hasattr(value, "copy") else value


def _check_rows(what: str, kept: Any, size: int) -> None:
    """Refuse what the metrics could not compare item by item, while it is known which batch it is of."""
    if isinstance(kept, (Mapping, tuple)):
        for each in kept.values() if isinstance(kept, Mapping) else kept:
            _check_rows(what, each, size)
    elif (rows := row_count(kept)) != size:
        found = f"no rows ({type(kept).__name__})" if rows is None else f"{rows} rows"
        raise DataError(f"{what} {found}, and the batch {size} items: metrics compare one with one")


def _joined(values: Sequence[Any]) -> Any:
    """Put what came batch by batch one below the other; of several outputs, each by itself."""
    if all(isinstance(each, Mapping) for each in values):
        return {key: _joined([each[key] for each in values]) for key in values[0]}
    if any(isinstance(each, tuple) for each in values):
        return tuple(map(_joined, zip(*values, strict=True)))
    return stack_rows(list(values))


def _aligned(true: Any, predicted: Any) -> tuple[Any, Any]:
    """Leave out the axis of a single column that only one of the two has.

    A network predicts (n, 1) for targets of (n,): arithmetic would spread the two to (n, n).
    """
    if isinstance(true, Mapping) and isinstance(predicted, Mapping):
        pairs = {
            key: _aligned(each, predicted[key]) for key, each in true.items() if key in predicted
        }
        return (
            {**true, **{key: pair[0] for key, pair in pairs.items()}},
            {**predicted, **{key: pair[1] for key, pair in pairs.items()}},
        )
    if isinstance(true, tuple) and isinstance(predicted, tuple) and len(true) == len(predicted):
        aligned = list(map(_aligned, true, predicted))
        return tuple(one for one, _ in aligned), tuple(other for _, other in aligned)
    if isinstance(true, np.ndarray) and isinstance(predicted, np.ndarray):
        if predicted.shape == (*true.shape, 1):
            return true, predicted[..., 0]
        if true.shape == (*predicted.shape, 1):
            return true[..., 0], predicted
    return true, predicted


CALLS: dict[type[ModelStep], type[ModelCall]] = {
    TrainStep: TrainCall,
    PredictStep: PredictCall,
    EvaluateStep: EvaluateCall,
}


def spec_of(name: str, around: Surrounding) -> ModelSpec:
    """Give what a model was declared as, through imports.

    Raises
    ------
    UnknownModelError
        If no pipeline declares it.
    """
    from batchloom.runtime.state import unknown_model

    definition, seen = around.definition, []
    while True:
        declared = definition.models.get(name)
        if declared is None:
            raise unknown_model(name, definition)
        if isinstance(declared, DeclareModel):
            return declared.spec
        assert isinstance(declared, ImportModel)
        if declared.source in seen:
            raise DefinitionError(f"model {name!r} is imported in a circle: no pipeline makes it")
        seen.append(declared.source)
        definition = declared.source._definition

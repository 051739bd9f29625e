"""Partners: batches that other pipelines contribute to a batch (`join` and `merge`).

A partner's batch is a function of the batch it joins and of the run's seed, so that it can be made in any
thread. A partner with models or variables of its own acts in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchloom.batch import Batch
from batchloom.ordering import Order, Positions, make_order
from batchloom.portion import Portion
from batchloom.randomness import partner_seed
from batchloom.rows import Rows
from batchloom.runtime.operations import Operation, perform
from batchloom.steps import JoinStep, MergeStep

if TYPE_CHECKING:
    from batchloom.building import Builder
    from batchloom.runtime.plan import Surrounding


class Partner:
    """Another pipeline, made ready to work on single batches."""

    def __init__(self, pipeline: Builder, around: Surrounding) -> None:
        from batchloom.runtime.plan import compile_plan

        definition = pipeline._definition
        assert definition.dataset is not None
        self.dataset = definition.dataset
        self._state = pipeline._state
        self._state.variables.begin_run()
        self._state.import_models()
        plan = compile_plan(definition, self._state, False, lambda each: False, around.watch)
        self.operations = [*plan.stages[0].prepare, *plan.stages[0].act]
        states = (self._state, *plan.partners)
        around.partners += [each for each in states if each not in around.partners]
        self._latest: tuple[object, Positions | None] = None, None

    def __call__(self, batch: Batch, joined: Batch) -> Batch:
        run, state = joined.pipeline, self._state
        assert run is not None
        # What a partner makes depends on the run that it serves, never on one of its own.
        state.seed, state.batch_size, state.shuffled = run.seed, run.batch_size, run.shuffled
        batch.__dict__.update(number=joined.number, epoch=joined.epoch, _draws=joined._draws)
        batch.__dict__["pipeline"] = run.for_batch(batch, self._state)
        return perform(self.operations, batch)

    def kth_batch(self, size: int, order: Order, number: int) -> Batch:
        """Make a batch of the dataset by its number, counted over epochs without end."""
        dataset = self.dataset
        per_epoch = max(1, -(-len(dataset) // size))
        epoch, at = divmod(number, per_epoch)
        start, stop = at * size, min((at + 1) * size, len(dataset))
        rows = Rows(dataset, start, stop, self._positions(order, epoch))
        return Portion(rows, rows.length).batch(0)

    def _positions(self, order: Order, epoch: int) -> Positions | None:
        key, positions = self._latest
        wanted = order.shuffled, order.seed, epoch
        if key != wanted:
            positions = order.positions(epoch)
            self._latest = wanted, positions  # one assignment: another thread sees both or neither
        return positions


def joining(step: JoinStep, around: Surrounding) -> Operation:
    """Make the operation of ``join``: batches with the same ids, for the next action."""
    partners = [Partner(each, around) for each in step.pipelines]

    def call(batch: Batch) -> Batch:
        ids = batch.indices
        made = (p.dataset.batch_at(p.dataset.index.positions(ids.tolist())) for p in partners)
        batch.__dict__["_partners"] = tuple(
            p(each, batch) for p, each in zip(partners, made, strict=True)
        )
        return batch

    return _operation(step, call, partners)


def merging(step: MergeStep, around: Surrounding) -> Operation:
    """Make the operation of ``merge``: the k-th batch gets the items of each partner's k-th batch.

    A partner has batches of the same size as the pipeline, shuffled if the run is (from a seed of its
    own), and begins again when its items are used up.
    """
    partners = [Partner(each, around) for each in step.pipelines]
    rebatched = around.rebatched

    def call(batch: Batch) -> Batch:
        assert batch.pipeline is not None
        size = rebatched or batch.pipeline.batch_size
        made = []
        for at, partner in enumerate(partners):
            seed = partner_seed(batch.pipeline.seed or 0, at)
            order = make_order(len(partner.dataset), batch.pipeline.shuffled, seed)[0]
            made.append(partner(partner.kth_batch(size, order, batch.number), batch))
        return batch.merge([batch, *made])

    return _operation(step, call, partners)


def _operation(step: JoinStep | MergeStep, call: Any, partners: list[Partner]) -> Operation:
    inner = [each for partner in partners for each in partner.operations]
    return Operation(
        step.describe(),
        call,
        step,
        in_order=any(each.in_order for each in inner),
        here=True,
        locks=frozenset[str]().union(*(each.locks for each in inner)),
    )

"""All peers' ways of doing the same work, as subjects."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.cases import Subject, Timed, iterating
from benchmarks.peers import (
    Columns,
    Work,
    batchflow_loops,
    datasets_loops,
    grain_loops,
    ray_loops,
    tensorflow_loops,
    torch_loops,
)

PEERS: tuple[ModuleType, ...] = (
    torch_loops, grain_loops, tensorflow_loops, datasets_loops, ray_loops, batchflow_loops,
)  # fmt: skip


def over_batches(
    columns: Columns,
    size: int,
    shuffle: bool,
    actions: int = 0,
    prefetch: int = 0,
    timed: Callable[[Callable[[], Any]], Timed] = iterating,
    leave_out: tuple[str, ...] = (),
) -> tuple[Subject, ...]:
    """Every peer's batches of the same arrays; ``timed`` says what is done with them."""

    def made(way: Any) -> Timed:
        return timed(way(columns, size, shuffle, actions, prefetch))

    return tuple(
        Subject(who, partial(made, way), peer.PACKAGE)
        for peer in PEERS
        for who, way in peer.BATCHES.items()
        if who not in leave_out
    )


def over_parquet(
    path: Path, name: str, width: int, size: int, timed: Callable[[Callable[[], Any]], Timed]
) -> tuple[Subject, ...]:
    """Shuffled batches of a Parquet file's column of bytes, of every peer that reads such files."""

    def made(way: Any) -> Timed:
        return timed(way(str(path), name, width, size))

    return tuple(
        Subject(who, partial(made, way), peer.PACKAGE)
        for peer in PEERS
        for who, way in getattr(peer, "PARQUET", {}).items()
    )


def over_work(
    ways: str, work: Work, count: int, ahead: int, timed: Callable[[Callable[[], Any]], Timed]
) -> tuple[Subject, ...]:
    """Every peer's way (``WORKING`` or ``PROCESSES``) of doing some work ahead."""

    def made(way: Any) -> Timed:
        return timed(way(work, count, ahead))

    return tuple(
        Subject(who, partial(made, way), peer.PACKAGE)
        for peer in PEERS
        for who, way in getattr(peer, ways).items()
    )

"""What a check is: a promise of the model contract, and a function that puts a model to the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchloom.testing.subject import Subject

PAGE = "docs/model-contract.md"

Function = Callable[["Subject", Path], None]


class BrokenPromise(AssertionError):  # noqa: N818  (what it is, in the words of the contract)
    """A model that does not do what every model promises.

    Parameters
    ----------
    check : Check
        Which promise.
    model : str
        What was tested.
    seen : str
        What it did instead.
    """

    def __init__(self, check: Check, model: str, seen: str) -> None:
        super().__init__(
            f"{model} breaks a promise of the model contract.\n"
            f"  promised: {check.promise}\n"
            f"  seen:     {seen}\n"
            f"  written:  {check.written}"
        )
        self.check, self.model, self.seen = check, model, seen


class Seen(AssertionError):  # noqa: N818  (raised inside a check; `Check` makes a BrokenPromise of it)
    """What a model did instead of what it promises."""


class NotApplicable(Exception):  # noqa: N818  (no error: the reason why a check says nothing)
    """A promise that this model does not make."""


@dataclass(frozen=True)
class Check:
    """A promise and its test.

    Attributes
    ----------
    name : str
        ``same_with_prefetch``: also the heading in the contract, with spaces.
    promise : str
        The sentence that stands there.
    function : callable
        ``function(subject, folder)`` raises `Seen` or `NotApplicable`, or returns.
    """

    name: str
    promise: str
    function: Function

    @property
    def written(self) -> str:
        """Where the contract is written."""
        return f"{PAGE}#{self.name.replace('_', '-')}"

    def __call__(self, subject: Subject, folder: Path) -> None:
        """Test a model.

        Parameters
        ----------
        subject : Subject
            The model and what it is tested with.
        folder : Path
            An empty directory to work in.

        Raises
        ------
        BrokenPromise
            If the promise is not kept, whatever the model raises instead.
        NotApplicable
            If the model does not make this promise.
        """
        try:
            self.function(subject, folder)
        except NotApplicable:
            raise
        except Seen as exc:
            raise BrokenPromise(self, subject.label, str(exc)) from exc.__cause__
        except Exception as exc:
            raise BrokenPromise(self, subject.label, described(exc)) from exc


def promise(text: str) -> Callable[[Function], Check]:
    """Make a check of a function; `text` is the promise, in one sentence."""

    def decorate(function: Function) -> Check:
        return Check(function.__name__, text, function)

    return decorate


def described(exc: BaseException) -> str:
    """Say what was raised, with its notes, on one line."""
    notes = "; ".join([str(exc), *getattr(exc, "__notes__", ())]).replace("\n", " ")
    return f"{type(exc).__name__}: {notes[:600]}"

"""The conformance kit: derive from `ModelTests`, name a model, and pytest tests the whole contract.

Every promise that a model makes is written in ``docs/model-contract.md``, and each has one check
here. The checks themselves need no pytest: ``batchloom check NAME`` runs them as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchloom.testing.model_tests import ModelTests

__all__ = ["ModelTests"]


def __getattr__(name: str) -> Any:
    # Only who derives from ModelTests needs pytest.
    if name != "ModelTests":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import pytest
    except ModuleNotFoundError as exc:
        raise ImportError(
            "batchloom.testing.ModelTests runs under pytest, which is not installed: "
            "pip install 'batchloom[testing]'"
        ) from exc
    pytest.register_assert_rewrite("batchloom.testing.model_tests")
    from batchloom.testing.model_tests import ModelTests

    return ModelTests


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

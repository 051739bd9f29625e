"""All checks of the kit, in the order in which the contract is written."""

from __future__ import annotations

from typing import Final

from batchloom.testing import construction, parallel, resources, saving, training
from batchloom.testing.promises import Check

CHECKS: Final[dict[str, Check]] = {
    each.name: each
    for module in (construction, training, parallel, saving, resources)
    for each in module.CHECKS
}
"""The checks by name."""

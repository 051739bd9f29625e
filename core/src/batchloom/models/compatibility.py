"""Whether this core is one that a package asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable

import batchloom

_SEPARATORS = re.compile(r"[-_.]+")
_NAME = re.compile(r"[A-Za-z0-9._-]*")
_RANGE = re.compile(r"(?:(?:>=|<)\d+(?:\.\d+)*(?:,|$))+")
_RELEASE = re.compile(r"\d+(?:\.\d+)*")


def unmet(requirements: Iterable[str]) -> str | None:
    """Return the one of a package's requirements that this core does not meet."""
    for each in requirements:
        name = _NAME.match(each.strip())
        if name is not None and normalised(name[0]) == "batchloom" and not _meets(each):
            return each
    return None


def normalised(name: str) -> str:
    """Normalise the name of a distribution (PyPA's rule: case, and runs of ``-_.``)."""
    return _SEPARATORS.sub("-", name).lower()


def _meets(requirement: str) -> bool:
    here, asked = batchloom.__version__, requirement.replace(" ", "")[len("batchloom") :]
    if _RELEASE.fullmatch(here) and _RANGE.fullmatch(asked):
        return all(_within(_numbers(here), bound) for bound in asked.split(",") if bound)
    return _meets_any(requirement)


def _within(here: tuple[int, ...], bound: str) -> bool:
    # What `packaging` says of releases and ranges too: to import it takes longer than all the rest.
    return here < _numbers(bound[1:]) if bound[0] == "<" else here >= _numbers(bound[2:])


def _numbers(version: str) -> tuple[int, ...]:
    numbers = tuple(map(int, version.split(".")))
    while numbers and not numbers[-1]:
        numbers = numbers[:-1]  # 1.0 and 1 are one version
    return numbers


def _meets_any(requirement: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        asked = Requirement(requirement)
    except InvalidRequirement:
        return True
    if asked.marker and not asked.marker.evaluate({"extra": ""}):
        return True
    return asked.specifier.contains(batchloom.__version__, prereleases=True)

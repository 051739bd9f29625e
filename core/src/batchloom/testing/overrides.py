"""Which tests of the kit a derived class has changed, and whether it says why."""

from __future__ import annotations

from typing import Any


def unexcused_overrides(derived: type, base: type) -> list[str]:
    """List the tests of a base class that a derived one silences.

    Parameters
    ----------
    derived, base : type
        Classes of tests.

    Returns
    -------
    list of str
        A sentence for each test that is overridden without ``xfail(reason=...)``, or marked to be
        skipped.
    """
    faults = []
    for name in (each for each in vars(base) if each.startswith("test_")):
        found: Any = getattr(derived, name, None)
        if found is vars(base)[name]:
            continue
        marks = {each.name: each for each in getattr(found, "pytestmark", ())}
        reason = marks["xfail"].kwargs.get("reason") if "xfail" in marks else None
        if not callable(found) or not reason:
            faults.append(
                f"{derived.__name__}.{name} overrides a test of the contract: mark it "
                "@pytest.mark.xfail(reason='why it fails') and call super()"
            )
    for each in getattr(derived, "pytestmark", ()):
        if each.name in ("skip", "xfail"):
            faults.append(f"{derived.__name__} is marked {each.name}: mark one test, with a reason")
    return faults

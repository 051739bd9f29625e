"""What a function returns, as far as its bytecode says: nearly every action ends in ``return self``.

Where that is certain, the loop over the batches need not look at what an action returned, which would take
a quarter of what it costs to call one that does nothing.
"""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable
from itertools import pairwise
from types import CodeType, FunctionType, MethodType
from typing import Any

# Their bodies do not run when they are called.
_LATER = 0x20 | 0x80 | 0x200
"""Flags of generators, coroutines and both."""


def returns_its_batch(call: Callable[..., Any]) -> bool:
    """Tell whether a call with a batch is certain to return that batch, unless it raises.

    Parameters
    ----------
    call : callable
        Called with the batch, and more perhaps. A function or a bound method; of anything else nothing is
        certain.
    """
    if isinstance(call, MethodType) and isinstance(call.__func__, FunctionType):
        return _returns(call.__func__.__code__, 1)
    return isinstance(call, FunctionType) and _returns(call.__code__, 0)


@functools.lru_cache(maxsize=1024)
def _returns(code: CodeType, position: int) -> bool:
    """Tell whether whatever a function returns is its argument at a position, which it never binds anew."""
    if position >= code.co_argcount or code.co_flags & _LATER:
        return False
    name = code.co_varnames[position]
    instructions = list(dis.get_instructions(code))
    if name in code.co_cellvars or any(_binds(each, name) for each in instructions):
        return False
    return all(
        each.opname == "RETURN_VALUE"
        and not each.is_jump_target
        and before.opname == "LOAD_FAST"
        and before.argval == name
        for before, each in pairwise(instructions)
        if each.opname.startswith("RETURN_") and each.opname != "RETURN_GENERATOR"
    )


def _binds(instruction: dis.Instruction, name: str) -> bool:
    """Tell whether an instruction binds or deletes a name; some do that with two names at once."""
    if "STORE_FAST" not in instruction.opname and "DELETE_FAST" not in instruction.opname:
        return False
    names = instruction.argval
    return name in names if isinstance(names, tuple) else bool(name == names)

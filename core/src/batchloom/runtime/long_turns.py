"""Long turns: threads that work ahead let whoever wakes up for a moment go first.

Who trains on a device wakes up only to give it the next batch. On its processor it may find a thread that
computes ahead, and Linux has it wait until that one's turn is over, for up to three milliseconds. A thread
that has asked for long turns is interrupted instead, and goes on afterwards: its share remains what it was.
"""

from __future__ import annotations

import functools
import os
import struct
import sys
from collections.abc import Callable

TURN_SECONDS = 0.02

NUMBERS = {"x86_64": 314, "aarch64": 274}
"""Of the call `sched_setattr`, which neither Python nor older C libraries have, by machine."""

SIZE, RESET_ON_FORK = 48, 1


def take_long_turns() -> bool:
    """Ask for long turns for the calling thread, not for the threads that it starts.

    Nothing is asked of a thread that somebody has already arranged something else for.

    Returns
    -------
    bool
        Whether the system has agreed: Linux does, and heeds it from 6.12 on.
    """
    set_attributes = _set_attributes()
    if set_attributes is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    niceness, turn = os.getpriority(os.PRIO_PROCESS, 0), round(TURN_SECONDS * 1e9)
    wanted = struct.pack("IIQiIQQQ", SIZE, os.SCHED_OTHER, RESET_ON_FORK, niceness, 0, turn, 0, 0)
    # The threads that it starts would not be as urgent as one below 0 is.
    return niceness >= 0 and set_attributes(wanted) == 0


@functools.cache
def _set_attributes() -> Callable[[bytes], int] | None:
    """Find the system's call, if there is one, and no filter of calls that might end who makes it."""
    if not hasattr(os, "sched_getscheduler") or sys.maxsize < 1 << 32:
        return None
    try:
        import ctypes

        number = NUMBERS[os.uname().machine]
        with open("/proc/self/status") as status:
            is_free = "\nSeccomp:\t0\n" in status.read()
        call = ctypes.CDLL(None).syscall
        os.sched_getscheduler(0)
    except (ImportError, KeyError, OSError):  # another system, another machine, no ctypes
        return None
    return (lambda wanted: call(number, 0, wanted, 0)) if is_free else None

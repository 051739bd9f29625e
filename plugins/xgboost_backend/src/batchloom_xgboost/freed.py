"""Memory that was freed, given back to the system before XGBoost asks for memory of its own.

The C library keeps what small arrays had for the next ones; what was gathered leaves tens of megabytes.
"""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Give back what can be; nothing where the C library cannot be asked to."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none
    if trim is not None:
        trim(ctypes.c_size_t(0))

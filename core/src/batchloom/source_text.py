"""Source text: functions that are made of it, and which words can stand as a name in it."""

from __future__ import annotations

import functools
import linecache
from keyword import iskeyword
from types import CodeType


def is_source_name(word: str) -> bool:
    """Tell whether a word, as an attribute or a keyword argument in source text, means just itself.

    Python reads other letters as the ones that they are compatible with (``ﬁt`` is ``fit``), and lets
    nobody assign to some names with underscores.
    """
    is_name = word.isascii() and word.isidentifier() and not iskeyword(word)
    return is_name and not word.startswith("__")


@functools.lru_cache(maxsize=256)
def code_of(source: str) -> CodeType:
    """Compile source text; tracebacks show its lines."""
    filename = f"<batchloom steps {hash(source) & 0xFFFFFFFF:08x}>"
    linecache.cache[filename] = len(source), None, source.splitlines(keepends=True), filename
    return compile(source, filename, "exec")

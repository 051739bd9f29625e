"""Source names: which words can stand as a name in source text that is made."""

from __future__ import annotations

from keyword import iskeyword


def is_source_name(word: str) -> bool:
    """Tell whether a word, as an attribute or a keyword argument in source text, means just itself.

    Python reads other letters as the ones that they are compatible with (``ﬁt`` is ``fit``), and lets
    nobody assign to some names with underscores.
    """
    is_name = word.isascii() and word.isidentifier() and not iskeyword(word)
    return is_name and not word.startswith("__")

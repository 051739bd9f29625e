"""What state each installed entry point is in, and what its user can do about it."""

from __future__ import annotations

from dataclasses import dataclass

from batchloom.errors import BatchloomError, PluginError
from batchloom.models import entries as installed
from batchloom.models import lifecycle, registry
from batchloom.models.compatibility import unmet
from batchloom.models.entries import Entry
from batchloom.models.hooks import CORE, HOOKS
from batchloom.models.protocol import check_model_class


@dataclass(frozen=True)
class State:
    """The state of an entry point.

    Attributes
    ----------
    word : str
        ``"ready"``, ``"switched off"``, ``"two owners"``, ``"wrong version"`` or ``"broken"``.
    advice : str
        What is the matter and what to do; empty for what is ready.
    """

    word: str
    advice: str = ""


READY = State("ready")


def by_metadata(entry: Entry) -> State:
    """Tell the state as far as metadata can, importing nothing of the package."""
    if word := installed.disabled_by(entry):
        return State("switched off", f"{word!r} in {installed.DISABLE} switches it off")
    if entry.group == registry.GROUP and not entry.is_name:
        return State("broken", f"the {entry} gives no name to a model: its key is 'namespace/Name'")
    if rivals := _rivals(entry):
        return State(
            "two owners",
            f"also provided by {', '.join(rivals)}: uninstall one, or name one in "
            f"{installed.DISABLE}",
        )
    if requirement := unmet(entry.requires):
        return State(
            "wrong version",
            f"asks for {requirement}: pip install --upgrade batchloom {entry.package}",
        )
    return READY


def by_loading(entry: Entry) -> State:
    """Tell the state by loading what the entry point names; whatever fails is caught."""
    state = by_metadata(entry)
    if state is not READY:
        return state
    try:
        _load(entry)
    except BatchloomError as exc:
        return State("broken", str(exc))
    except (Exception, SystemExit) as exc:
        return State("broken", str(installed.import_failure(entry, exc)))
    return READY


def acting_order() -> dict[str, list[str]]:
    """List for each hook who acts on it, in order: wrappers from the outside in, then the others.

    Returns
    -------
    dict of str to list of str
        Plug-ins as ``package:key``, with ``" (wrapper)"`` where they are one. The model itself,
        which is always last, is left out, and so are hooks that nobody implements.
    """
    manager, _ = lifecycle.loaded_plugins()
    if manager is None:
        return {}
    order = {}
    for hook in HOOKS:
        acting = [
            each.plugin_name + " (wrapper)" * (each.wrapper or each.hookwrapper)
            for each in reversed(getattr(manager.hook, hook).get_hookimpls())
            if each.plugin_name != CORE
        ]
        if acting:
            order[hook] = acting
    return order


def _load(entry: Entry) -> None:
    if entry.group == lifecycle.GROUP:
        _, broken = lifecycle.loaded_plugins()
        if entry in broken:
            raise broken[entry]
        return
    if entry.group == registry.GROUP and entry.key.endswith("/*"):
        _check_names(entry)
        return
    found = installed.load(entry)
    if entry.group == registry.GROUP:
        check_model_class(found, f"the {entry}")
    elif not callable(found):
        raise PluginError(f"the {entry} is {found!r}, and nothing that can be called")


def _check_names(entry: Entry) -> None:
    if not all(isinstance(each, str) for each in registry.resolver_names(entry)):
        raise PluginError(f"the {entry} lists names that are no strings")


def _rivals(entry: Entry) -> list[str]:
    if entry.group == lifecycle.GROUP:
        return []  # any number may act
    others = [
        each
        for each in installed.entries(entry.group)
        if each.package != entry.package and installed.disabled_by(each) is None
    ]
    same = {each.owner for each in others if each.key == entry.key}
    if entry.group == registry.GROUP and not entry.owns_namespace:
        same |= {
            each.owner
            for each in others
            if each.namespace == entry.namespace and each.owns_namespace
        }
    return sorted(same)

"""Checks of how a model is made: from its config, built or not, with a pipeline or a first batch."""

from __future__ import annotations

from pathlib import Path

from batchloom.errors import BatchloomError, ModelConfigError
from batchloom.models.spec import CORE_KEYS
from batchloom.testing.promises import Seen, described, promise
from batchloom.testing.subject import Subject
from batchloom.testing.values import must_be_same

UNKNOWN = "no_such_key"


@promise("A model is made from its config, keeps it, and changes nothing in what it was given.")
def made_from_its_config(subject: Subject, folder: Path) -> None:
    """Build it, and compare the config with what it was."""
    given = subject.fresh_config()
    before = repr(given)
    handle = subject.spec.live(given)
    kept = getattr(handle.calls.model, "config", None)
    if kept is not None and (lost := [each for each in given if each not in kept]):
        raise Seen(f"config of the new model lacks {lost}")
    if subject.is_static:
        handle.build((), {"pipeline": None, "batch": None})
    if repr(given) != before:
        raise Seen(f"the config that was given became {given!r:.300}, from {before:.300}")


@promise("A key of the config that the model does not know is refused, by name, when it is made.")
def unknown_config_keys(subject: Subject, folder: Path) -> None:
    """Add a key that nobody has."""
    subject.need(checks_config="the model takes any key")
    try:
        subject.run(subject.pipeline(changes={UNKNOWN: 1}))
    except (BatchloomError, TypeError, ValueError) as exc:
        if UNKNOWN not in str(exc):
            raise Seen(f"the error does not name the key {UNKNOWN!r}: {described(exc)}") from exc
        return
    raise Seen(f"config={{{UNKNOWN!r}: 1, ...}} was taken without a word")


@promise(
    "The keys build, load and path belong to core: a model that is told them works as without."
)
def core_keys(subject: Subject, folder: Path) -> None:
    """Say build=True and load=False, which is what holds anyway."""
    without = subject.predictions(subject.trained())
    told = subject.run(subject.pipeline(changes={"build": True, "load": False}))
    if subject.is_deterministic:
        must_be_same(without, subject.predictions(told), "with build=True and load=False")


@promise("With build=False a model is not built: asked for predictions it raises, and says why.")
def not_built(subject: Subject, folder: Path) -> None:
    """Ask a model that is neither built nor loaded nor trained."""
    handle = subject.make(build=False)
    try:
        found = handle.predict((), {"x": subject.x, **subject.predict_options})
    except Exception as exc:
        if not str(exc):
            raise Seen(f"{type(exc).__name__} without a word of explanation") from exc
        return
    raise Seen(f"it predicted {found!r:.200}")


@promise("A static model is made without a batch, a dynamic one with its first batch; both train.")
def static_and_dynamic(subject: Subject, folder: Path) -> None:
    """Run a pipeline of each mode."""
    subject.run(subject.pipeline("dynamic"))
    subject.need(is_static="the model needs a first batch to be built")
    subject.run(subject.pipeline("static"))


@promise("Two models made from one config share nothing: training one leaves the other as it was.")
def models_share_nothing(subject: Subject, folder: Path) -> None:
    """Train one, train another on other data, and ask the first again."""
    subject.need(can_train="the model cannot be trained")
    first = subject.trained()
    before = subject.predictions(first)
    columns = {name: each[::-1][:80].copy() for name, each in subject.columns.items()}
    columns["x"] = columns["x"] * 0.5
    subject.run(subject.pipeline(columns=columns))
    must_be_same(before, subject.predictions(first), "after another model was trained")


@promise("build and load together: a model that needs both is built first, any other refuses both.")
def build_and_load(subject: Subject, folder: Path) -> None:
    """Load through the config, with and without build."""
    model, path = subject.saved(folder)
    expected = subject.predictions(model)
    loaded = subject.make(load=True, path=path).model
    must_be_same(expected, subject.predictions(loaded), "after load=True")
    both = {"build": True, "load": True, "path": path}
    if getattr(subject.spec.model_class, "load_needs_build", True):
        loaded = subject.make(**both).model
        must_be_same(expected, subject.predictions(loaded), "after build=True, load=True")
        return
    try:
        subject.make(**both)
    except ModelConfigError:
        return
    raise Seen("load_needs_build = False, and build=True beside load=True was accepted")


@promise("What `batchloom info` lists of the config is what the model takes.")
def config_is_listed(subject: Subject, folder: Path) -> None:
    """Compare describe_config with the config in use."""
    describe = getattr(subject.spec.model_class, "describe_config", None)
    if describe is None:
        subject.need(checks_config="the model takes any key")
        raise Seen("there is no classmethod describe_config() to list the keys with their defaults")
    listed = dict(describe())
    if unlisted := [each for each in subject.config if each not in {*listed, *CORE_KEYS}]:
        raise Seen(f"the config has {unlisted}, and describe_config() lists only {sorted(listed)}")


@promise("An argument that train or predict does not have is refused, never passed over.")
def unknown_arguments(subject: Subject, folder: Path) -> None:
    """Misspell an argument of predict, and of train."""
    model = subject.trained()
    for method in ("train", "predict") if subject.can_train else ("predict",):
        given = {"x": subject.x[:4], f"no_such_{method}": 1}
        try:
            getattr(model, method)(**given)
        except Exception as exc:
            if f"no_such_{method}" not in described(exc):
                raise Seen(f"{method}(no_such_{method}=1): {described(exc)}") from exc
        else:
            raise Seen(f"{method}(x=..., no_such_{method}=1) was taken without a word")


CHECKS = (
    made_from_its_config,
    unknown_config_keys,
    config_is_listed,
    core_keys,
    not_built,
    static_and_dynamic,
    models_share_nothing,
    build_and_load,
    unknown_arguments,
)

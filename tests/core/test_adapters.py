"""What entry points bring besides models: adapters of a library's objects, and metrics by name."""

from __future__ import annotations

import pytest

from batchloom.errors import AmbiguousModelError, ModelProtocolError, UnknownNameError
from batchloom.models.adapters import adapt
from batchloom.models.handle import ModelSpec
from batchloom.models.metrics import get_metric

NET = """
    from batchloom.models import BaseModel

    class Net(BaseModel):
        pass
"""

ADAPTER = """
    def adapt(model):
        from acme_net import Net
        kind = model if isinstance(model, type) else type(model)
        if not hasattr(kind, "fit"):
            raise TypeError(f"{kind.__name__} has no fit")
        return Net, {"estimator": model}
"""

LIBRARY = """
    class Ridge:
        def fit(self): pass

    class Helper: pass
"""


def test_an_object_of_an_adapted_library_stands_for_a_model(install) -> None:
    install(
        "batchloom-acme",
        models={"acme/Net": "acme_net:Net"},
        adapters={"acmelib": "acme_adapter:adapt"},
        acme_net=NET,
        acme_adapter=ADAPTER,
        acmelib=LIBRARY,
    )
    from acme_net import Net
    from acmelib import Helper, Ridge

    ridge = Ridge()
    assert adapt(ridge) == (Net, {"estimator": ridge})
    spec = ModelSpec.resolve(ridge, config={"level": 3})
    assert (spec.name, spec.model_class) == ("Ridge", Net)
    assert spec.registered_name == "acme/Net"
    assert spec.config == {"estimator": ridge, "level": 3}

    class Own(Ridge):
        pass

    assert ModelSpec.resolve(Own, "o").config == {"estimator": Own}, "found along the MRO"
    with pytest.raises(ModelProtocolError, match=r"1.0 makes no model of it: Helper"):
        adapt(Helper())


def test_an_object_of_a_library_whose_backend_is_absent() -> None:
    kind = type("SGDClassifier", (), {"__module__": "sklearn.linear_model", "fit": print})
    try:
        adapt(kind())
    except ModelProtocolError as exc:
        if "makes no model of it" in str(exc):
            pytest.skip("the scikit-learn backend is installed here")
        assert "pip install batchloom-sklearn" in str(exc)


def test_two_packages_adapt_one_library(install) -> None:
    for name in ("one", "two"):
        install(name, adapters={"acmelib": "acme_adapter:adapt"})
    kind = type("Ridge", (), {"__module__": "acmelib"})
    with pytest.raises(AmbiguousModelError, match=r"one 1.0, two 1.0|two 1.0, one 1.0"):
        adapt(kind())


def test_metrics_by_name(install) -> None:
    metrics = """
        def get_metric(name):
            if name != "gap":
                raise LookupError(f"unknown metric {name!r}: did you mean 'gap'?")
            return lambda y_true, y_pred: abs(y_true - y_pred)
    """
    install("batchloom-acme", metrics={"acme": "acme_metrics:get_metric"}, acme_metrics=metrics)
    assert get_metric("acme/gap")(3, 5) == 2
    assert get_metric("gap")(3, 5) == 2
    with pytest.raises(UnknownNameError, match="did you mean 'gap'"):
        get_metric("acme/gop")
    install("batchloom-beta", metrics={"beta": "acme_metrics:get_metric"})
    with pytest.raises(AmbiguousModelError, match="'provider/name'"):
        get_metric("gap")
    assert get_metric("beta/gap")(1, 1) == 0

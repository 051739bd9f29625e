"""The modules of a package that is installed for a test: models, and a resolver that makes some."""

from __future__ import annotations

NET = """
    from batchloom.models import BaseModel

    class Net(BaseModel):
        pass

    class Other(BaseModel):
        pass
"""


RESOLVER = """
    names_ = {"Ridge", "Lasso", "linear.Ridge"}

    class Resolver:
        def __call__(self, rest):
            if rest == "Keyed":
                {}["a KeyError of the library's own"]
            if rest == "Needy":
                import a_library_that_is_not_there
            if rest not in names_:
                raise LookupError(rest)
            from acme_net import Net
            return type(rest.rpartition(".")[2], (Net,), {"registered_name": f"acme/{rest}"})

        def names(self):
            return [*sorted(names_), "Keyed", "Needy"]

    resolver = Resolver()
"""

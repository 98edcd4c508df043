"""Plots, one kind a file; a file in this folder is found by being here, others by their name.

A plot file has `ORDER` (a number), `TITLE`, and `make(study) -> list[Plot]`, which raises
`NotDrawn` with the reason when the records hold too little for it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

from reports.errors import InputError
from reports.plots.base import NotDrawn, Plot
from reports.study import Study

SHARED = ("base", "style")  # what plots are made with


def make_all(
    study: Study, others: Iterable[ModuleType] = ()
) -> tuple[list[Plot], list[tuple[str, str]]]:
    """Every plot the records allow, and (title, reason) of each kind that they do not.

    Args:
        others: modules outside this folder; an error in one is a reason as well.
    """
    names = [m.name for m in pkgutil.iter_modules(__path__) if m.name not in SHARED]
    own = [importlib.import_module(f"{__name__}.{name}") for name in names]
    drawn: list[Plot] = []
    missing: list[tuple[str, str]] = []
    for module in sorted([*own, *others], key=lambda m: (m.ORDER, m.__name__)):
        try:
            drawn += module.make(study)
        except NotDrawn as why:
            missing.append((module.TITLE, str(why)))
        except Exception as error:
            if module in own:
                raise
            missing.append((str(module.TITLE), f"{type(error).__name__}: {error}"))
    return drawn, missing


def plot_module(name: str) -> ModuleType:
    """A plot outside this folder, by the name that `import` would take.

    Raises:
        InputError: it cannot be imported, or is no plot.
    """
    try:
        module = importlib.import_module(name)
    except Exception as error:  # its own code runs here
        raise InputError("a module with a plot", f"{name} ({error})",
                         "Is its folder on PYTHONPATH?") from error  # fmt: skip
    lacking = [part for part in ("ORDER", "TITLE", "make") if not hasattr(module, part)]
    if lacking:
        raise InputError("a module with ORDER, TITLE and make(study)",
                         f"{name} without {', '.join(lacking)}",
                         "Files in reports/plots are examples.")  # fmt: skip
    return module

"""Plots, one kind a file; a file in this folder is found by being here.

A plot file has `ORDER` (a number), `TITLE`, and `make(study) -> list[Plot]`, which raises
`NotDrawn` with the reason when the records hold too little for it.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from reports.drawing.canvas import NotDrawn, Plot

if TYPE_CHECKING:
    from reports.study import Study


def make_all(study: Study) -> tuple[list[Plot], list[tuple[str, str]]]:
    """Every plot the records allow, and (title, reason) of each kind that they do not."""
    modules = [
        importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)
    ]
    drawn: list[Plot] = []
    missing: list[tuple[str, str]] = []
    for module in sorted(modules, key=lambda m: (m.ORDER, m.__name__)):
        try:
            drawn += module.make(study)
        except NotDrawn as why:
            missing.append((module.TITLE, str(why)))
    return drawn, missing

"""The command line of a duel: its own keys, and the cells that the rest asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from bench import bounds
from bench.command.overrides import combinations
from bench.config import Seed
from bench.errors import BadInput

USAGE = """\
usage: python -m bench.duel base=REF_OR_PATH head=REF_OR_PATH [KEY=VALUE...]

Times two versions of this project against each other: interleaved fresh processes in random
order, until every cell is decided or the budget is spent.

  base, head    a git revision or a folder; head defaults to the working tree (.)
  budget_s      seconds the duel may take (default 1800)
  out           folder for the records and the verdict (default runs/duel)
  order_seed    seed of the random order (default: from the system)
  KEY=VALUE     what `python -m bench -m` takes; A=x,y makes one cell of each value

Exit status: 0 nothing got slower, or the data cannot tell; 1 something did; 2 bad input.
"""


@dataclass(frozen=True)
class Options:
    """A checked command line.

    Attributes:
        base, head: what names the two trees.
        budget_s: wall-clock seconds for all processes together.
        out: folder of the duel.
        order_seed: seed of the random order, None for one from the system.
        cells: overrides of each cell.
    """

    base: str
    head: str
    budget_s: float
    out: Path
    order_seed: int | None
    cells: tuple[tuple[str, ...], ...]


def parse(arguments: Sequence[str]) -> Options:
    """The options that a command line asks for.

    Raises:
        BadInput: on a missing base, a value that is no number or an override that cannot be read.
    """
    own = {"base": "", "head": ".", "budget_s": "1800", "out": "runs/duel", "order_seed": "null"}
    rest = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in own:
            own[key] = value
        else:
            rest.append(argument)
    if not own["base"]:
        raise BadInput(
            "base",
            "a git revision or a folder",
            "nothing",
            "For example: python -m bench.duel base=main algo=d_rtrl",
        )
    return Options(
        base=own["base"],
        head=own["head"],
        budget_s=_number("budget_s", own["budget_s"], bounds.Positive, 1800),
        out=Path(own["out"]).resolve(),
        order_seed=_number("order_seed", own["order_seed"], Seed | None, 0),
        cells=tuple(cells(rest)),
    )


def cells(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """One tuple of overrides a cell: the product over all sweeps, in the order typed.

    Args:
        overrides: Hydra overrides; ``a=1,2`` and ``a=range(1,3)`` are sweeps.
    """
    parsed = []
    for text in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            raise BadInput(text, "KEY=VALUE", text, str(error)) from None
    return [tuple(cell) for cell in combinations(parsed)]


def titles(cells: Sequence[tuple[str, ...]]) -> tuple[str, list[str]]:
    """What all cells share, and for each what sets it apart; a lone cell keeps its whole name."""
    shared = {text for text in cells[0] if len(cells) > 1 and all(text in c for c in cells)}
    names = [" ".join(text for text in cell if text not in shared) for cell in cells]
    return " ".join(t for t in cells[0] if t in shared), [name or "defaults" for name in names]


def _number(key: str, text: str, hint: Any, default: float) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    bounds.check(key, value, hint, default)
    return value

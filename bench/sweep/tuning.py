"""``tune=N``: what every way of a contest may try, the same for all of them.

The points are those of a Halton sequence, so that N of them cover the ranges evenly and a larger N
keeps the ones before. Each range is covered on a logarithmic scale; that of a decay, which lies
below 1, on one of 1 - decay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from bench.bounds import Range, check, is_number
from bench.errors import BadInput

NUMBER = Annotated[int, Range(1, 1000)]
# What each may be, and a number to try.
COUNTS = {"trials": (NUMBER | None, 8), "seeds": (NUMBER, 5), "jobs": (NUMBER | None, 2)}
DIGITS = 3  # of a value that is tried: more would be noise in titles and names


@dataclass(frozen=True)
class Tuning:
    """What a contest tries."""

    trials: int  # points that every way tries
    seeds: int  # fresh ones at the best of them
    jobs: int | None  # learning cells that run at the same time; None: as many as there are cores
    # Lowest and highest value by the name of what is tuned; ``lr`` is always there.
    ranges: Mapping[str, tuple[float, float]]

    def points(self) -> list[dict[str, float]]:
        """The points, each a value by name; what a way does not have it leaves aside."""
        from scipy.stats import qmc

        names = ["lr", *sorted(set(self.ranges) - {"lr"})]
        sequence = qmc.Halton(len(names), scramble=False)
        sequence.fast_forward(1)  # the first point is the corner of the ranges
        places = [dict(zip(names, at, strict=True)) for at in sequence.random(self.trials).tolist()]
        return [{k: _between(k, *self.ranges[k], at) for k, at in p.items()} for p in places]


def tuning_of(asked: Mapping[str, Any]) -> Tuning | None:
    """What checked settings below ``tune`` ask for; None where nothing is tuned."""
    if not asked["trials"]:
        return None
    ranges = {k: tuple(v) for k, v in asked.items() if k not in COUNTS and v is not None}
    return Tuning(asked["trials"], asked["seeds"], asked["jobs"], ranges)


def checked(value: Mapping[str, Any]) -> dict[str, Any]:
    """The settings below ``tune``; a BadInput for the first that cannot be used."""
    asked = {**dict.fromkeys((*COUNTS, "lr")), **value}
    for name, found in asked.items():
        if name in COUNTS:
            hint, example = COUNTS[name]
            check("tune" if name == "trials" else f"tune.{name}", found, hint, example)
        elif found is not None or name == "lr":
            _check_range(name, found)
    return asked


def _check_range(name: str, found: Any) -> None:
    is_decay = _is_decay(name)
    example = "[0.8,0.999]" if is_decay else "[1e-4,1e-1]"
    words = "two numbers from 0 and below 1" if is_decay else "two numbers above 0"
    pair = isinstance(found, list) and len(found) == 2 and all(map(is_number, found))
    inside = pair and all(0 <= v < 1 if is_decay else v > 0 for v in found)
    if not (inside and found[0] < found[1]):
        expected = f"[LOWEST,HIGHEST], {words}, the lower one first"
        raise BadInput(f"tune.{name}", expected, str(found), f"Try tune.{name}={example}.")


def _is_decay(name: str) -> bool:
    return name.rpartition("_")[2] == "decay"


def _between(name: str, low: float, high: float, at: float) -> float:
    if _is_decay(name):
        short = 1 - low
        return round(1 - short * ((1 - high) / short) ** at, 2 + DIGITS)
    return float(f"{low * (high / low) ** at:.{DIGITS}g}")

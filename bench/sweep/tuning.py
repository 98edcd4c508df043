"""``tune=N``: what every way of a contest may try, the same for all of them.

The points are those of a Halton sequence, so that N of them cover the ranges evenly and a larger N
keeps the ones before. Each range is covered on a logarithmic scale; that of a decay, which lies
below 1, on one of 1 - decay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from bench.bounds import Range, check, is_number
from bench.errors import BadInput

NUMBER = Annotated[int, Range(1, 1000)]
COUNTS = {"trials": 8, "seeds": 5, "jobs": 2}  # each with a number to try
DIGITS = 3  # of a value that is tried: more would be noise in titles and names


@dataclass(frozen=True)
class Tuning:
    """What a contest tries.

    Attributes:
        trials: points that every way tries.
        seeds: fresh seeds at the best of them.
        jobs: learning cells that run at the same time; None: as many as there are cores.
        ranges: lowest and highest value by the name of what is tuned; ``lr`` is always there.
    """

    trials: int
    seeds: int
    jobs: int | None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def points(self) -> list[dict[str, float]]:
        """The points, each a value by name; what a way does not have it leaves aside."""
        from scipy.stats import qmc

        names = ["lr", *sorted(set(self.ranges) - {"lr"})]
        sequence = qmc.Halton(len(names), scramble=False)
        sequence.fast_forward(1)  # the first point is the corner of the ranges
        return [
            {
                name: _between(name, *self.ranges[name], at)
                for name, at in zip(names, point, strict=True)
            }
            for point in sequence.random(self.trials).tolist()
        ]


def tuning_of(asked: Mapping[str, Any]) -> Tuning | None:
    """What checked settings below ``tune`` ask for; None where nothing is tuned."""
    if not asked["trials"]:
        return None
    ranges = {
        name: (low, high)
        for name, found in asked.items()
        if name not in COUNTS and found is not None
        for low, high in [found]
    }
    return Tuning(asked["trials"], asked["seeds"], asked["jobs"], ranges)


def checked(key: str, value: Any) -> dict[str, Any]:
    """The settings below ``tune``; a BadInput for the first that cannot be used."""
    if not isinstance(value, dict):
        raise BadInput(key, "a number of trials", str(value), "Try tune=8.")
    for name in (*COUNTS, "lr"):
        if name not in value:
            raise BadInput(f"{key}.{name}", "a value", "none at all")
    for name, example in COUNTS.items():
        if value[name] is not None or name == "seeds":
            check("tune" if name == "trials" else f"{key}.{name}", value[name], NUMBER, example)
    if value["lr"] is None:
        raise BadInput(f"{key}.lr", "[LOWEST,HIGHEST]", "null", f"Try {key}.lr=[1e-4,1e-1].")
    for name, found in value.items():
        if name not in COUNTS and found is not None:
            _check_range(f"{key}.{name}", name, found)
    return value


def _check_range(key: str, name: str, found: Any) -> None:
    is_decay = _is_decay(name)
    example = "[0.8,0.999]" if is_decay else "[1e-4,1e-1]"
    words = "two numbers from 0 and below 1" if is_decay else "two numbers above 0"
    pair = isinstance(found, list) and len(found) == 2 and all(map(is_number, found))
    inside = pair and all(0 <= v < 1 if is_decay else v > 0 for v in found)
    if not (inside and found[0] < found[1]):
        raise BadInput(
            key,
            f"[LOWEST,HIGHEST], {words}, the lower one first",
            str(found),
            f"Try {key}={example}.",
        )


def _is_decay(name: str) -> bool:
    return name.rpartition("_")[2] == "decay"


def _between(name: str, low: float, high: float, at: float) -> float:
    if _is_decay(name):
        short = 1 - low
        return round(1 - short * ((1 - high) / short) ** at, 2 + DIGITS)
    return float(f"{low * (high / low) ** at:.{DIGITS}g}")

"""Numbers that a hyperparameter can be: type hints with a bound, for the arguments of constructors.

For a type checker they are int and float. ``bench.signature`` reads their names and holds what was
set against the bound, before any cell runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

Count = int
Positive = float
NotNegative = float


class Kind(NamedTuple):
    """What a hint stands for.

    Attributes:
        plain: name of the type without the bound.
        words: what is expected, in a sentence.
        example: a value of it.
        holds: whether a value is of it.
    """

    plain: str
    words: str
    example: str
    holds: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number, which true and false are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # math.isfinite fails on larger integers


KINDS = {
    "Count": Kind("int", "a whole number of at least 1", "1",
                  lambda value: is_number(value) and isinstance(value, int) and value >= 1),
    "Positive": Kind("float", "a number above 0", "1.0",
                     lambda value: is_number(value) and value > 0),
    "NotNegative": Kind("float", "a number of at least 0", "0.0",
                        lambda value: is_number(value) and value >= 0),
}

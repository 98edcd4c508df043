"""Numbers that a hyperparameter can be: type hints with a bound, for the arguments of constructors.

For a type checker they are int and float. ``bench.sweep.signature`` reads their names and holds
what was set against the bound, before any cell runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

Count = int
Positive = float
NotNegative = float


class Bound(NamedTuple):
    """What a hint stands for.

    Attributes:
        plain: name of the type without the bound.
        words: what is expected, in a sentence; of a whole number above ``most``, ``words_above``.
        example: a value of it.
        holds: whether a value is of it.
    """

    plain: str
    words: str
    example: str
    holds: Callable[[Any], bool]
    most: float = sys.float_info.max
    words_above: str = "a number of at most 1.8e308"

    def expected(self, value: Any) -> str:
        """What is expected in place of this value."""
        above = isinstance(value, int) and value > self.most
        return self.words_above if above else self.words


# What counts something: an index of an array has 32 bits.
LARGEST = 2**31 - 1


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number, which true and false are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # math.isfinite fails on larger integers


BOUNDS = {
    "Count": Bound("int", "a whole number of at least 1", "1",
                  lambda value: is_number(value) and isinstance(value, int)
                  and 1 <= value <= LARGEST, LARGEST, f"a whole number of at most {LARGEST}"),
    "Positive": Bound("float", "a number above 0", "1.0",
                     lambda value: is_number(value) and value > 0),
    "NotNegative": Bound("float", "a number of at least 0", "0.0",
                        lambda value: is_number(value) and value >= 0),
}

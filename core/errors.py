"""Errors of the core: each says what was expected, what came, and what to do."""

from numbers import Integral


class CoreError(ValueError):
    """Base of every error that the core raises on purpose."""

    def __init__(self, expected: str, came: str, do: str) -> None:
        self.expected, self.came, self.do = expected, came, do
        super().__init__(f"expected {expected}; got {came}. {do}")


class NotRepresentable(CoreError):
    """The model holds a structure for which the algorithm has no right gradient."""


class NotCompiled(CoreError):
    """The algorithm was used before `compile_graph`."""


class InvalidArgument(CoreError):
    """A hyperparameter or an input is out of its range."""


def checked_seed(seed: object) -> int:
    """A seed as an integer.

    Raises:
      InvalidArgument: for anything else.
    """
    if isinstance(seed, Integral) and not isinstance(seed, bool):
        found = int(seed)
        if -(2**63) <= found < 2**63:
            return found
    raise InvalidArgument("seed to be an integer of 64 bits", repr(seed), "Try seed=0.")

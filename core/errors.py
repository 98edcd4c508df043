"""Errors of the core and of bench: each says what was expected, what came, and what to do.

Only the standard library is imported here, so that processes of `bench` share it without jax.
"""

import math
from numbers import Integral
from typing import TypeGuard


class EtraceError(Exception):
    """Base of every exception that `core` and `bench` raise on purpose."""


class Refusal(EtraceError, ValueError):
    """What was asked for cannot be done.

    Its text is ``WHAT: expected EXPECTED; got CAME. DO``, where WHAT and DO may be left out. The
    three others are attributes: ``expected``, ``came`` and ``do``.
    """

    def __init__(self, expected: str, came: object, do: str = "", *, what: str = "") -> None:
        self.expected, self.came, self.do = expected, str(came) or "nothing", do
        sentence = f"expected {expected}; got {self.came.removesuffix('.')}."
        super().__init__(" ".join(part for part in (what and f"{what}:", sentence, do) if part))


class CoreError(Refusal):
    """Base of every error that the core raises on purpose."""


class NotRepresentable(CoreError):
    """The model holds a structure for which the algorithm has no right gradient."""


class NotCompiled(CoreError):
    """The algorithm was used before `compile_graph`."""


class InvalidArgument(CoreError):
    """A hyperparameter or an input is out of its range."""


def is_whole(value: object, least: float = -math.inf, most: float = math.inf) -> TypeGuard[int]:
    """Whether a value is an integer within bounds, and no boolean."""
    return (
        isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most
    )


def checked_seed(seed: object) -> int:
    """A seed as an integer.

    Raises:
      InvalidArgument: for anything else.
    """
    if is_whole(seed, -(2**63), 2**63 - 1):
        return int(seed)
    raise InvalidArgument("seed to be an integer of 64 bits", repr(seed), "Try seed=0.")


def check_flags(**flags: object) -> None:
    """Refuse what is neither true nor false: a word, None, what is being traced."""
    for name, value in flags.items():
        try:
            known = value in (True, False)
        except (TypeError, ValueError):
            known = False
        if not known:
            raise InvalidArgument(f"{name} to be True or False", repr(value), "Choose one of them.")


def check_choice(name: str, value: object, *valid: str) -> None:
    """Refuse what is none of the words that are valid."""
    if not isinstance(value, str) or value not in valid:
        words = ", ".join(valid)
        raise InvalidArgument(f"{name} to be one of {words}", repr(value), "Choose one of them.")

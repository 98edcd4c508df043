"""The one error that a person who typed a command may see."""

from __future__ import annotations


class InputError(ValueError):
    """Records or arguments that cannot be used; the text says what was expected, what came, what
    to do.

    The command line prints it without a traceback and exits with status 2.
    """

    def __init__(self, expected: str, came: str, do: str) -> None:
        self.expected, self.came, self.do = expected, came, do
        super().__init__(f"expected {expected}; got {came}. {do}")

"""Errors of the reports, which know no other room: their sentence is that of the core's."""

from __future__ import annotations


class ReportError(Exception):
    """Base of every exception that reports raise on purpose."""


class InputError(ReportError, ValueError):
    """Records or arguments that cannot be used: what was expected, what came, what to do.

    The command line prints it without a traceback and exits with status 2.
    """

    def __init__(self, expected: str, came: object, do: str = "") -> None:
        self.expected, self.came, self.do = expected, str(came) or "nothing", do
        sentence = f"expected {expected}; got {self.came}."
        super().__init__(f"{sentence} {do}" if do else sentence)

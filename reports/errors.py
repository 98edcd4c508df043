"""The one error that a person who typed a command may see."""

from __future__ import annotations

from core.errors import Refusal


class InputError(Refusal):
    """Records or arguments that cannot be used.

    The command line prints it without a traceback and exits with status 2.
    """

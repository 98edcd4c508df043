"""Errors about what the caller asked for: what was expected, what came, what to do."""

from __future__ import annotations

import contextlib
import difflib
import re
import signal
from collections.abc import Iterable, Iterator, Sequence

from core.errors import EtraceError, Refusal

MOST_LETTERS = 2000


class Ended(KeyboardInterrupt):
    """A signal asked this process to end; ``status`` is what a shell then reports of a program."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class BadInput(Refusal):
    """The command line or a configuration cannot be used; the message says why and what to do."""

    def __init__(self, what: str, expected: str, came: object, do: str = "") -> None:
        super().__init__(expected, came, do, what=what)

    @classmethod
    def quoting(cls, what: str, words: object) -> BadInput:
        """The complaint of a constructor about its arguments, in its own words, on one line."""
        error = cls.__new__(cls)
        error.expected = error.came = error.do = ""
        ValueError.__init__(error, f"{what}: {one_line(words)}")
        return error


def one_line(text: object) -> str:
    """What others said as one line, of a length to be read, that does nothing to a terminal."""
    try:
        said = str(text)
    except Exception:  # of an error that is somebody's own
        said = ""
    shown = "".join(c if c.isprintable() else " " for c in said)
    return " ".join(shown.split())[:MOST_LETTERS]


def words_of(error: BaseException) -> str:
    """What an error says, as one line; what it is as well, where its words may say too little."""
    tells = isinstance(error, EtraceError | ValueError | TypeError | OSError | MemoryError)
    return (tells and one_line(error)) or kind_and_words(error)


def kind_and_words(error: BaseException) -> str:
    """What an error is and says, as one line."""
    return f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")


@contextlib.contextmanager
def quoted(what: str, *but: type[Exception]) -> Iterator[None]:
    """Makes a BadInput of what somebody else's code raises in the block, but for these kinds."""
    told: tuple[type[BaseException], ...] = (BadInput, Ended, *but)
    try:
        yield
    except told:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise BadInput.quoting(what, words_of(error)) from error


class Skip(EtraceError):
    """A cell that a part of the harness declares it does not support; the text is the reason."""


def suggest(name: str, options: Iterable[str]) -> str:
    """``Did you mean ...?`` for the option closest to ``name``, or an empty string."""
    # float16 is no slip of the finger for float64: other digits are another thing.
    alike = [o for o in options if re.sub(r"\D", "", o) == re.sub(r"\D", "", name)]
    # Separators are what people forget (drtrl, batchsize), so they do not count as a difference.
    plain = {option.replace("_", "").lower(): option for option in alike}
    close = difflib.get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=0.75)
    return f"Did you mean {plain[close[0]]}?" if close else ""


def one_of(options: Iterable[str], otherwise: str = "nothing") -> str:
    """The options, sorted, as an expectation; ``otherwise`` where there is none."""
    return listed(sorted(options)) or otherwise


def counted(number: int, thing: str) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def listed(names: Sequence[str]) -> str:
    """``one of a, b``, or the only one."""
    return f"one of {', '.join(names)}" if len(names) > 1 else "".join(names)

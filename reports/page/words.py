"""Numbers as a reader takes them in: figures with their intervals, and changes in words."""

from __future__ import annotations

from collections.abc import Sequence

from reports.stats import OWN, RANGE, Interval
from reports.text import plural, short


def figure(value: Interval | None) -> str:
    """ "3.1 (3.0 to 3.2)"; of two values both; of one process that alone. None is a dash."""
    if value is None or value.kind == OWN:
        return short(value and value.centre)
    return between(value)


def between(value: Interval) -> str:
    """A figure with its interval, whatever that is of."""
    ends = short(value.low), short(value.high)
    known = value.low == value.low and ends[0] != ends[1]
    return f"{short(value.centre)} ({ends[0]} to {ends[1]})" if known else short(value.centre)


def kind(value: Interval | None, n: int, of: str, more: str = "") -> str:
    """What the interval of a figure is, in words."""
    count = plural(n, of, more)
    if value is None or value.low != value.low:
        return count if value else ""
    if value.kind == OWN:
        return f"{count}; {short(value.low)} to {short(value.high)} within it (95 %)"
    return f"{count}, {RANGE if value.kind == RANGE else '95 % interval'}"


def change(ratio: Interval) -> str:
    """A ratio of times in words: "25 % slower (20 to 30 %)", "3.2 × the time (3.1 to 3.3)"."""
    at = ratio.centre
    if not 0.5 < at < 2:
        first, *rest = between(ratio).split(" ", 1)
        return " ".join([first, "× the time", *rest])
    sign = 1 if at > 1 else -1
    low, high = sorted(100 * sign * (end - 1) for end in (ratio.low, ratio.high))
    span = f" ({low:.0f} to {high:.0f} %)" if low == low else ""
    return f"{100 * abs(at - 1):.0f} % {'slower' if at > 1 else 'faster'}{span}"


def probability(p: float) -> str:
    """ "p = 0.012", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def listed(names: Sequence[str], word: str = "and", most: int = 4) -> str:
    """ "a, b and c"; of many the first and how many more there are."""
    names = list(names)
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} {word} {len(names) - most} more"
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))

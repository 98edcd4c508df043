"""Numbers as a reader takes them in: figures with their intervals, and changes in words."""

from __future__ import annotations

from reports.stats import Interval
from reports.text import short


def figure(value: Interval | None) -> str:
    """ "3.1 (3.0 to 3.2)"; of two values both; of one, that. None is a dash."""
    if value is None:
        return "–"
    ends = short(value.low), short(value.high)
    if value.kind == "within one process" or value.low != value.low or ends[0] == ends[1]:
        return short(value.centre)
    return f"{short(value.centre)} ({ends[0]} to {ends[1]})"


def kind(value: Interval | None, n: int, of: str) -> str:
    """What the interval of a figure is, in words."""
    count = f"{n} {of}{'' if n == 1 else 's' if not of.endswith('s') else 'es'}"
    if value is None:
        return ""
    if value.kind == "within one process" and value.low == value.low:
        return f"{count}; {short(value.low)} to {short(value.high)} within it (95 %)"
    if value.kind == "min to max":
        return f"{count}, min to max"
    return f"{count}, 95 % interval" if value.low == value.low else count


def change(ratio: Interval) -> str:
    """A ratio of times in words: "25 % slower (20 to 30 %)", "3.2 × the time (3.1 to 3.3)"."""
    at = ratio.centre
    known = ratio.low == ratio.low
    if not 0.5 < at < 2:
        ends = f" ({short(ratio.low)} to {short(ratio.high)})" if known else ""
        return f"{short(at)} × the time{ends}"
    way = "slower" if at > 1 else "faster"
    bounds = sorted(100 * (r - 1) * (1 if at > 1 else -1) for r in (ratio.low, ratio.high))
    span = f" ({bounds[0]:.0f} to {bounds[1]:.0f} %)" if known else ""
    return f"{100 * abs(at - 1):.0f} % {way}{span}"


def probability(p: float) -> str:
    """ "p = 0.012", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def listed(names: list[str], word: str = "and", most: int = 4) -> str:
    """ "a, b and c"; of many the first and how many more there are."""
    names = list(names)
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} {word} {len(names) - most} more"
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def plural(n: int, one: str, more: str = "") -> str:
    """ "1 run", "3 runs"."""
    return f"{n} {one if n == 1 else more or one + 's'}"

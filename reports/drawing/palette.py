"""One colour per variant and one marker per batching, the same in every plot of a report.

Colours are Okabe and Ito's, which stay apart under the common forms of colour blindness; line style
and marker repeat the distinction for print in grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

# Yellow (#F0E442) is left out: it vanishes on white. The last is the text colour (see canvas.INK).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1b1b1f")
# Those that most sweeps have keep their colour from report to report; the others share the rest.
HOME = ("bptt", "d_rtrl", "es_d_rtrl")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[tuple[int, tuple[float, ...]], ...] = (
    (0, ()),
    (0, (4, 2)),
    (0, (1, 1.5)),
    (0, (6, 1.5, 1, 1.5)),
)


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    dash: tuple[int, tuple[float, ...]]


def looks(pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Look]:
    """A look for every (variant, way of batching) pair; order decides, so sort before."""
    variants = list(dict.fromkeys(v for v, _ in pairs))
    ways = list(dict.fromkeys(w for _, w in pairs))
    taken = {variant: HOME.index(variant) for variant in variants if variant in HOME}
    free = (place for place in count() if place not in taken.values())
    places = {v: taken[v] if v in taken else next(free) for v in variants}

    def look(variant: str, way: str) -> Look:
        again, colour = divmod(places[variant], len(COLOURS))
        turn = ways.index(way) + again * len(ways)  # a colour used again gets markers of its own
        return Look(COLOURS[colour], MARKERS[turn % len(MARKERS)], DASHES[turn % len(DASHES)])

    return {(variant, way): look(variant, way) for variant, way in pairs}

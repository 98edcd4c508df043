"""One colour per algorithm; marker and dash tell the rest, the same in every plot of a report.

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
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
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


def looks(ways: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], Look]:
    """A look for every (algorithm, its settings, batching and the like); order decides, so sort
    before.

    Colour tells the algorithm. Where all are of one algorithm, colour tells its settings instead.
    """
    algos = list(dict.fromkeys(algo for algo, _, _ in ways))
    rests = list(dict.fromkeys((setting, way) for _, setting, way in ways))
    settings = list(dict.fromkeys(setting for setting, _ in rests))
    taken = {algo: HOME.index(algo) for algo in algos if algo in HOME}
    free = (place for place in count() if place not in taken.values())
    places = {algo: taken[algo] if algo in taken else next(free) for algo in algos}

    def look(algo: str, setting: str, way: str) -> Look:
        place = places[algo] + (settings.index(setting) if len(algos) == 1 else 0)
        again, colour = divmod(place, len(COLOURS))
        # A colour that a second algorithm has to share gets markers of its own.
        turn = rests.index((setting, way)) + (again * len(rests) if len(algos) > 1 else 0)
        # Once all markers are used up, each of them comes with another dash.
        dash = (turn + turn // len(MARKERS)) % len(DASHES)
        return Look(COLOURS[colour], MARKERS[turn % len(MARKERS)], DASHES[dash])

    return {each: look(*each) for each in ways}

"""One colour per algorithm; marker and dash tell the rest, the same in every plot of a report.

Colours are Okabe and Ito's, which stay apart under the common forms of colour blindness; line style
and marker repeat the distinction for print in grey.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reports.judge import Way

# Greys that the page replaces by its own colours, so that one drawing serves light and dark.
INK, FAINT, PAPER = "#1b1b1f", "#c9c9cf", "#fefefe"
# Yellow (#F0E442) is left out: it vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
# Those that most sweeps have keep their colour from report to report; the others share the rest.
HOME = ("bptt", "d_rtrl", "es_d_rtrl")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DASHES: tuple[tuple[int, tuple[float, ...]], ...] = (
    (0, ()), (0, (4, 2)), (0, (1, 1.5)), (0, (6, 1.5, 1, 1.5)),
)  # fmt: skip
MOST_SERIES = 7  # a drawing; more cannot be told apart
PNG_DPI = 200

STYLE = Path(__file__).with_name("paper.mplstyle")


@dataclass(frozen=True)
class Look:
    """Colour of the algorithm, marker and dash of what else tells ways apart."""

    colour: str
    marker: str
    dash: tuple[int, tuple[float, ...]]


def looks(ways: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str, str], Look]:
    """A look for every (algorithm, its options, batching and library), in whatever order they come.

    Colour tells the algorithm. Where all are of one algorithm, colour tells its options instead.
    """
    ways = sorted(set(ways))
    algos = list(dict.fromkeys([*HOME, *(algo for algo, _, _ in ways)]))
    options = list(dict.fromkeys(option for _, option, _ in ways))
    alone = len({algo for algo, _, _ in ways}) == 1
    found: dict[tuple[str, str, str], Look] = {}
    kinds: dict[tuple[int, str, str], int] = {}
    for algo, option, rest in ways:
        place = algos.index(algo) + (options.index(option) if alone else 0)
        # A colour that a second algorithm has to share gets markers of its own.
        kind = (0 if alone else place // len(COLOURS), option, rest)
        turn = kinds.setdefault(kind, len(kinds))
        # Once all markers are used up, each of them comes with another dash.
        dash = DASHES[(turn + turn // len(MARKERS)) % len(DASHES)]
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[turn % len(MARKERS)]
        found[algo, option, rest] = Look(colour, marker, dash)
    return found


def looks_of(ways: Iterable[Way], by: Literal["name", "method"] = "method") -> dict[str, Look]:
    """Name of a way -> its look; or its method, where batching plays no part."""
    told = {name: (w.algo, w.variant[len(w.algo) :], name[len(w.variant) :])
            for w in ways for name in [getattr(w, by)]}  # fmt: skip
    found = looks(told.values())
    return {name: found[parts] for name, parts in told.items()}

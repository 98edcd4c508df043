"""Colours and markers: the algorithm has the colour, the rest what is left."""

from __future__ import annotations

from synthetic_records import ALGOS

from reports.plots.style import looks


def test_series_can_be_told_apart_without_colour() -> None:
    ways = [(v, "", w) for v in "abcdefgh" for w in ("manual", "vmap", "single")]
    found = looks(ways)
    assert len({(look.colour, look.marker, look.dash) for look in found.values()}) == len(ways)
    for algo in "abcdefgh":
        assert len({found[algo, "", w].marker for w in ("manual", "vmap", "single")}) == 3


def test_colour_tells_the_algorithm_whatever_else_was_set() -> None:
    every = [f" update_every={u}" for u in ("1", "4", "sequence")]
    found = looks([(algo, setting, "") for algo in ALGOS for setting in every])
    for algo in ALGOS:
        of_algo = [found[algo, setting, ""] for setting in every]
        assert len({look.colour for look in of_algo}) == 1
        assert len({look.marker for look in of_algo}) == len({look.dash for look in of_algo}) == 3
    assert len({look.colour for look in found.values()}) == 3


def test_settings_of_a_lone_algorithm_have_colours() -> None:
    found = looks([("es_d_rtrl", f" decay={i}", "") for i in range(5)])
    assert len({look.colour for look in found.values()}) == 5


def test_an_algorithm_keeps_its_colour_whatever_stands_beside_it() -> None:
    few = looks([(v, "", "") for v in ("d_rtrl", "es_d_rtrl")])
    many = looks(
        [(v, "", "") for v in ("bptt", "bptt_checkpointed", "d_rtrl", "es_d_rtrl", "rtrl")]
    )
    assert all(few[pair].colour == many[pair].colour for pair in few)
    assert len({look.colour for look in many.values()}) == len(many)

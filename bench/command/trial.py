"""Builds cells without running them, before anything runs: bad values cost a message, not a sweep.

This process has neither jax nor data: a child, ``python -m bench.cell.probe``, builds them all.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal

from bench import child
from bench.errors import BadInput
from bench.sweep import launch
from bench.sweep.cell import AXES, GROUPS, Cell
from bench.sweep.inputs import digest

# What is found about a cell: {"error": text or "", "skipped": why it is not defined, or "",
# "predicted_mib": number or None, "note": why there is no number, or ""}.
Finding = dict[str, Any]

# How far a cell is built: its task alone, the model and the algorithm as well, or up to the traced
# training step, whose memory is then predicted.
Depth = Literal["task", "objects", "memory"]

START_S = 60.0  # ten times what a slow machine takes to start

# An override that sets a hyperparameter, or may bring some.
_VALUE = re.compile(r"[+~]*((algo|model|task)(\.|=\{)|hydra\.searchpath)")


def trial(cells: list[Cell], depth: Depth, tuned: bool = False) -> dict[int, Finding]:
    """Findings about cells, by their place in the list; equal ones are looked at once.

    A task that states its rule for ``n_steps`` in its YAML has been held against it already and is
    not made for its own sake; one that is tuned needs validation data, and a target within reach.
    """
    matter = ["task", "n_steps", *(["metric"] if tuned else [])]
    if depth != "task":
        matter += [*GROUPS, *AXES, "update_every", "dtype"]
    alike = defaultdict[tuple[str | None, str], list[int]](list)
    for place, cell in enumerate(cells):
        if depth != "task" or tuned or "steps_multiple_of" not in cell.config.task:
            plain = cell.config.plain()
            own = digest([plain[key] for key in matter])
            alike[cell.config.python, own].append(place)
    findings: dict[int, Finding] = {}
    for python in dict.fromkeys(python for python, _ in alike):
        groups = [places for key, places in alike.items() if key[0] == python]
        found = _asked([cells[places[0]] for places in groups], depth, tuned)
        for places, finding in zip(groups, found, strict=True):
            findings |= dict.fromkeys(places, finding)
    return findings


def _asked(cells: list[Cell], depth: Depth, tuned: bool) -> list[Finding]:
    """Findings about cells of one interpreter."""
    config = cells[0].config
    jobs = [
        {"config": c.config, "choices": c.choices, "depth": depth, "tuned": tuned} for c in cells
    ]
    # A cell that takes longer to build than it may has no time to run either.
    deadline_s = START_S + sum(c.config.limits.deadline_s for c in cells)
    env = {**launch.environment(config), "JAX_PLATFORMS": "cpu"}
    found, end = child.asked("bench.cell.probe", jobs, env, deadline_s, config.python)
    what = "task" if depth == "task" else "cell"
    if end.late:
        expected = f"a {what} that is made within {deadline_s:g} s"
        raise BadInput(what, expected, "none", "limits.deadline_s is what a cell has.")
    if len(found) < len(cells):
        raise BadInput(what, f"a {what} that can be made", end.last_line())
    return found


def values_given(overrides: list[str], config_dir: str | None) -> bool:
    """Whether somebody set a hyperparameter, which then has to pass the constructor it is for.

    What our own YAML says is tested; importing jax to hear so again would cost every sweep seconds.
    """
    return config_dir is not None or any(map(_VALUE.match, overrides))


def refuse_bad_values(findings: Mapping[int, Finding], of: tuple[str, ...]) -> None:
    """Refuses a sweep with a cell whose objects of these groups cannot be built, in their words."""
    for finding in findings.values():
        place, _, words = finding["error"].partition(": ")
        if place.partition(".")[0] in (*of, "backend", "metric"):
            raise BadInput.quoting(place, words)

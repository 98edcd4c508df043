"""Builds cells without running them, before anything runs: bad values cost a message, not a sweep.

This process has neither jax nor data: one child, ``python -m bench.cell.probe``, builds them all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from bench import child
from bench.errors import BadInput
from bench.sweep import launch
from bench.sweep.cell import AXES, GROUPS, Cell

# What is found about a cell: {"error": text or "", "predicted_mib": number or None, "note": why
# there is no number, or ""}.
Finding = dict[str, Any]

# How far a cell is built: its task alone, the model and the algorithm as well, or up to the traced
# training step, whose memory is then predicted.
Depth = Literal["task", "objects", "memory"]

# Ten times what a slow machine takes to start and for a cell: nobody waits longer for a courtesy.
START_S, CELL_S = 60.0, 10.0


def trial(cells: list[Cell], depth: Depth, tuned: bool = False) -> dict[int, Finding]:
    """Findings about cells, by their place in the list.

    Args:
        cells: the cells to look at; those that differ in nothing that matters are looked at once.
        depth: how far they are built. A task that states its rule for ``n_steps`` in its YAML has
            been held against it already and is not made for its own sake.
        tuned: whether they need validation data, and a target that can be reached.

    Raises:
        BadInput: when the process ends without an answer, or makes no task in the time of a cell.
    """
    matter = (
        ("task", "n_steps")
        if depth == "task"
        else (*GROUPS, *AXES, "update_every", "dtype", "python")
    )
    distinct: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if depth == "task" and not tuned and "steps_multiple_of" in cell.config.task:
            continue
        plain = cell.config.plain()
        own = {key: plain[key] for key in (*matter, *(["metric"] if tuned else []))}
        distinct.setdefault(json.dumps(own, sort_keys=True), []).append(place)
    by_interpreter: dict[str | None, list[list[int]]] = {}
    for places in distinct.values():
        python = None if depth == "task" else cells[places[0]].config.python
        by_interpreter.setdefault(python, []).append(places)
    return {
        place: finding
        for python, groups in by_interpreter.items()
        for places, finding in zip(
            groups,
            _asked(python, [cells[places[0]] for places in groups], depth, tuned),
            strict=True,
        )
        for place in places
    }


def _asked(python: str | None, cells: list[Cell], depth: Depth, tuned: bool) -> list[Finding]:
    env = launch.environment(replace(cells[0].config, python=python))
    jobs = [
        {"config": c.config.plain(), "choices": c.choices, "depth": depth, "tuned": tuned}
        for c in cells
    ]
    # A task that takes longer than a cell may leaves that no time either.
    deadline_s = START_S + sum(
        c.config.limits.deadline_s if depth == "task" else CELL_S for c in cells
    )
    answer = child.asked(
        "bench.cell.probe",
        jobs,
        python=python,
        timeout_s=deadline_s,
        env={**env, "JAX_PLATFORMS": "cpu"},
    )
    missing = len(cells) - len(answer.found)
    if not missing:
        return answer.found
    if depth == "task" and answer.late:
        raise BadInput(
            "task",
            f"a task that is made within {deadline_s:g} s",
            "none",
            "limits.deadline_s is what a cell has.",
        )
    if not answer.late:
        what, expected = (
            ("task", "a task that can be made")
            if depth == "task"
            else ("configuration", "cells that can be built")
        )
        raise BadInput(what, expected, answer.last)
    note = f"building it takes longer than {deadline_s:g} s"
    return answer.found + [{"error": "", "predicted_mib": None, "note": note}] * missing


def values_given(overrides: list[str], config_dir: str | None) -> bool:
    """Whether somebody set a hyperparameter, which then has to pass the constructor it is for.

    What our own YAML says is tested; importing jax to hear so again would cost every sweep seconds.
    """
    typed = [override.lstrip("+~").partition("=") for override in overrides]
    return config_dir is not None or any(
        key == "hydra.searchpath"
        or (
            key.partition(".")[0] in ("algo", "model", "task")
            and ("." in key or value.startswith("{"))
        )
        for key, _, value in typed
    )


def refuse_bad_values(findings: Mapping[int, Finding], of: tuple[str, ...]) -> None:
    """Refuses a sweep with a cell whose objects cannot be built, before any cell runs.

    Args:
        findings: about its cells.
        of: the groups whose objects count.

    Raises:
        BadInput: with the constructor's own words.
    """
    for finding in findings.values():
        place, _, words = finding["error"].partition(": ")
        if place.partition(".")[0] in (*of, "metric"):
            raise BadInput.quoting(place, words)

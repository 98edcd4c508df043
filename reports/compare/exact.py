"""The gate without a clock: what two runs of one program must share digit by digit."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from reports.compare.pairing import Cell, told
from reports.compare.result import Line, Verdict
from reports.records.columns import SEEDED

# Repeats of one cell that differ a little among themselves leave room for a change this many times
# as large as their differences, and no more.
REPEATS = 10


class Exact(NamedTuple):
    """How one metric is compared."""

    metric: str
    better: Literal["low", "high"] | None  # an improvement; None: any change is an alarm
    # How far apart two values may be and still be the same; one is enough.
    relative: float = 0.0
    absolute: float = 0.0
    processor: bool = False  # another one may rightly give another value (rounding, vector width)


GATES = (
    Exact("etrace_mib", "low", relative=1e-9),
    Exact("flops_per_step", "low", relative=1e-9),
    Exact("n_compilations", "low"),
    Exact("memory_xla_mib", "low", relative=1e-9, processor=True),
    Exact("memory_temp_mib", "low", relative=1e-9, processor=True),
    Exact("loss_first", None, relative=1e-6, processor=True),
    Exact("loss_final", None, relative=1e-6, processor=True),
    # One sample of a few hundred may fall to the other side where the loss stays the same.
    Exact("accuracy", "high", absolute=0.005, processor=True),
    Exact("test_accuracy", "high", absolute=0.005, processor=True),
    Exact("r2", "high", absolute=1e-4, processor=True),
    Exact("test_r2", "high", absolute=1e-4, processor=True),
    Exact("grad_cosine", "high", absolute=1e-6, processor=True),
    Exact("grad_rel_error", "low", relative=1e-4, absolute=1e-6, processor=True),
)


def exact_lines(cell: Cell) -> list[Line]:
    """One line for each exact metric that a side has, and one for the health of the training."""
    versions = cell.difference("python", "versions")
    processor = cell.difference("processor", "cores")
    lines = []
    for gate in GATES:
        line, judge = cell.line(gate.metric, "exact", gate.better)
        if line.base is None and line.head is None:
            continue
        if judge:
            elsewhere = versions or (processor if gate.processor else "")
            verdict, note = _judged(gate, *cell.numbers(gate.metric), elsewhere)
            if verdict != "same" and (why := not elsewhere and _of_chance(cell, gate.metric)):
                verdict, note = "cannot tell", why
            line = replace(line, verdict=verdict, note=note or line.note)
        lines.append(line)
    return lines + _health(cell)


def _judged(gate: Exact, base: np.ndarray, head: np.ndarray, elsewhere: str) -> tuple[Verdict, str]:
    if elsewhere:
        return "cannot tell", elsewhere
    before, after = float(np.median(base)), float(np.median(head))
    room = max(gate.absolute, gate.relative * max(np.abs(base).max(), np.abs(head).max()))
    spread = max(np.ptp(base), np.ptp(head))
    moved = abs(after - before)
    if spread > room and moved <= REPEATS * spread:
        name, values = ("base", base) if np.ptp(base) == spread else ("head", head)
        return "cannot tell", (f"repeats of {name} differ among themselves: "
                               f"{values.min():.9g} to {values.max():.9g}")  # fmt: skip
    if moved <= room:
        return "same", ""
    note = f"{before:.9g} became {after:.9g}"
    if gate.better is None:
        return "changed", note + "; the same seed gave the same number before"
    return ("better" if (after < before) == (gate.better == "low") else "worse"), note


def _of_chance(cell: Cell, metric: str) -> str:
    """Why a seeded number that not every process measured may be another each time, "" where it may
    not: the first step's gradient, which every process has, is.
    """
    if metric not in SEEDED:
        return ""
    sides = zip(("base", "head"), cell.numbers(metric), cell.numbers("grad_norm"), strict=True)
    for name, found, norms in sides:
        if len(found) < len(norms) and np.ptp(norms):
            return (
                f"processes of {name} differ in their first gradient's norm, {norms.min():.9g} "
                f"to {norms.max():.9g}; metric=[learning,fidelity] repeats=3 can tell"
            )
    return ""


def _health(cell: Cell) -> list[Line]:
    """A line where a side's training has a warning: a new one is worse, whatever the machine.

    Warnings are one when they are but for their figures.
    """
    base, head = ({re.sub(r"[\d.]+", "", word): word
                   for words in told(side) for word in words.split("; ")}
                  for side in cell.column("health"))  # fmt: skip
    if not (base or head) or not all(side.any() for side in cell.complete):
        return []
    new = [head[kind] for kind in head if kind not in base]
    gone = [base[kind] for kind in base if kind not in head]
    verdict: Verdict = "worse" if new else "better" if gone else "same"
    return [Line(cell.name, "health", "exact", verdict, None, None, note="; ".join(new or gone),
                 keys=cell.keys)]  # fmt: skip

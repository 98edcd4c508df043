"""usage: python -m bench.duel base=REF_OR_PATH head=REF_OR_PATH [KEY=VALUE...]

Times two versions of this project against each other: interleaved fresh processes in random
order, until every cell is decided or the budget is spent.

  base, head    a git revision or a folder; head defaults to the working tree (.)
  budget_s      seconds the duel may take (default 1800)
  out           folder for the records and the verdict (default runs/duel)
  order_seed    seed of the random order (default: from the system)
  KEY=VALUE     what `python -m bench -m` takes; A=x,y makes one cell of each value,
                threads=N times steps on N threads, and on no core in particular

Exit status: 0 nothing got slower, or the data cannot tell; 1 something did; 2 bad input.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import instantiate
from bench.bounds import Positive
from bench.command import overrides
from bench.config import Seed
from bench.duel import process
from bench.duel.referee import Referee
from bench.duel.trees import Tree, checked_out
from bench.errors import BadInput, one_line
from bench.sweep import signals, sweep
from bench.sweep.provenance import CACHE_VARIABLE
from bench.sweep.record import write_json

SCHEMA = 1
CELL_TIMEOUT_S, POLL_S = 900.0, 0.05
# What a duel sets itself, so that a value of somebody else's would have no effect.
OWN = ("metric", "plan", "repeats", "report", "resume", "tune")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the duel that the command line asks for; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(argument in ("-h", "--help") for argument in arguments):
        print(__doc__, end="")
        return 0
    try:
        return duel(parse(arguments))
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that is gone
        print(f"error: the duel cannot go on: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as ended:
        print("interrupted: the pairs that finished are kept", file=sys.stderr)
        return signals.status_of(ended)


@dataclass(frozen=True)
class Options:
    """A checked command line, as the first lines here have it, and the overrides of each cell."""

    base: str = ""
    head: str = "."
    budget_s: Positive = 1800
    out: str = "runs/duel"
    order_seed: Seed | None = None
    cells: Sequence[tuple[str, ...]] = ()


def parse(arguments: Sequence[str]) -> Options:
    """The options that a command line asks for."""
    own: dict[str, Any] = {}
    rest = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key in ("base", "head", "out") and equals:
            own[key] = value
        elif key in ("budget_s", "order_seed") and equals:
            own[key] = value
            with contextlib.suppress(ValueError):
                own[key] = json.loads(value)
        else:
            rest.append(overrides.parse(argument))
    instantiate.check_call("", Options, own)
    if not own.get("base"):
        do = "For example: python -m bench.duel base=main algo=d_rtrl"
        raise BadInput("base", "a git revision or a folder", "nothing", do)
    if not own.get("out", "runs"):  # would be the current folder
        raise BadInput("out", "the name of a folder", "nothing", "Leave it out for runs/duel.")
    for override in rest:
        if override.key_or_group in OWN:
            do = "Leave it out."
            raise overrides.refusal(override, "no value, which a duel sets itself", do)
    return Options(**own, cells=list(overrides.combinations(rest)))


def threads_of(cell: Sequence[str]) -> str:
    """The value of ``threads`` among a cell's overrides, "1" where there is none."""
    asked = [one for one in map(overrides.parse, cell) if one.key_or_group == "threads"]
    return str(asked[-1].value()) if asked else "1"


def titles(cells: Sequence[tuple[str, ...]]) -> tuple[str, list[str]]:
    """What all cells share, and for each what sets it apart; a lone cell keeps its whole name."""
    shared = {text for text in cells[0] if len(cells) > 1 and all(text in c for c in cells)}
    names = [" ".join(text for text in cell if text not in shared) for cell in cells]
    return " ".join(t for t in cells[0] if t in shared), [name or "defaults" for name in names]


def duel(options: Options) -> int:
    """Times both trees until every cell is decided or the budget is spent; the exit status."""
    folder = Path(options.out).resolve()
    if (folder / "duel.json").exists():
        do = "Name another one, or delete it."
        raise BadInput("out", "a folder without a duel in it", str(folder), do)
    with ExitStack() as stack:
        sides = {
            side: stack.enter_context(checked_out(side, asked))
            for side, asked in (("base", options.base), ("head", options.head))
        }
        folder.mkdir(parents=True, exist_ok=True)
        seed = random.randrange(2**32) if options.order_seed is None else options.order_seed
        shared, names = titles(options.cells)
        state: dict[str, Any] = {
            "schema": SCHEMA,
            "column": process.COLUMN,
            "budget_s": options.budget_s,
            "order_seed": seed,
            **{name: {**asdict(side), "root": str(side.root)} for name, side in sides.items()},
            "shared": shared,
            "cells": names,
            "pairs": [],
            "over": False,
        }
        try:
            _run_pairs(options, folder, sides, state, random.Random(seed))
        except BadInput:
            if not state["pairs"]:
                # Nothing was timed: the same folder serves when the error is mended.
                (folder / "duel.json").unlink()
            raise
    verdict = _decide(folder, state)
    print((folder / "verdict.txt").read_text(encoding="utf-8"), end="")
    return 1 if verdict["worse"] else 0


def _run_pairs(
    options: Options,
    folder: Path,
    sides: dict[str, Tree],
    state: dict[str, Any],
    order: random.Random,
) -> None:
    """Asks for a decision, runs the pairs that it wants, and again; marks the state as over."""
    started = time.monotonic()
    while wanted := _decide(folder, state)["wanted"]:
        batch = [want for want in wanted for _ in range(want["pairs"])]
        order.shuffle(batch)
        for want in batch:
            elapsed, done = time.monotonic() - started, len(state["pairs"])
            if done and elapsed + elapsed / done > options.budget_s:
                state["over"] = True
                return
            pair = _pair(options.cells[want["cell"]], folder, sides, done, order)
            state["pairs"].append({"cell": want["cell"], **pair, "round": want["round"]})
            _tell(state, time.monotonic() - started, options.budget_s)
            write_json(folder / "duel.json", state)
            if all(pair[side]["status"] == "skipped" for side in sides):
                break  # as it would be in the others
    state["over"] = True


def _pair(
    cell: Sequence[str], folder: Path, sides: dict[str, Tree], number: int, order: random.Random
) -> dict[str, Any]:
    """One process of each side, both at a time, timing in turns."""
    names = list(sides)
    order.shuffle(names)
    # One thread unless asked: a step that waits for other cores measures who else is on them.
    threads = threads_of(cell)
    with Referee(order.randrange(2**32), one_core=threads == "1") as referee, ExitStack() as stack:
        running = {}
        for name in names:
            own = folder / name
            variables = {CACHE_VARIABLE: str(own / "compiled"), **referee.environment}
            # A tree from before there were threads to be set knows this alone.
            variables |= {"NPROC": threads} if threads.isdigit() else {}
            side = process.Process(sides[name], cell, own, variables)
            running[name] = stack.enter_context(side)
        until = time.monotonic() + CELL_TIMEOUT_S
        while left := sum(side.status() is None for side in running.values()):
            if time.monotonic() > until:
                break
            # One whose opponent has ended need not wait for it.
            if not referee.round(expected=left):
                time.sleep(POLL_S)
        pairs = folder / "pairs"
        return {n: s.outcome(pairs / f"{number:04d}-{n}.json") for n, s in running.items()}


def _decide(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    """What the statistics say of the pairs so far: verdicts, and the pairs that are still wanted.

    The statistics belong to the reports, which are asked as any reader of files is: by a command.
    """
    write_json(folder / "duel.json", state)
    done = sweep.reports("duel", str(folder))
    if done.returncode not in (0, 1):
        raise ChildProcessError(f"no decision could be made ({one_line(done.stderr)})")
    decision: dict[str, Any] = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    return decision


def _tell(state: dict[str, Any], elapsed: float, budget_s: float) -> None:
    pair = state["pairs"][-1]
    values = [pair[side]["value"] for side in ("base", "head")]
    if None in values:
        said = ", ".join(f"{side} {pair[side]['status']}" for side in ("base", "head"))
    else:
        base, head = values
        said = f"base {base:.4g} ms, head {head:.4g} ms ({100 * (head / base - 1):+.1f} %)"
    count = len(state["pairs"])
    print(
        f"[{elapsed:5.0f} of {budget_s:.0f} s] pair {count}, {pair['round']} round, "
        f"{state['cells'][pair['cell']]}: {said}",
        flush=True,
    )

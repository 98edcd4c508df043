"""A duel from the command line: check, run pairs until the verdict stands, tell it."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.duel import process
from bench.duel.options import USAGE, Options, parse, titles
from bench.duel.referee import Referee
from bench.duel.trees import Tree, checked_out
from bench.errors import BadInput
from bench.sweep import signals, sweep
from bench.sweep.provenance import CACHE_VARIABLE
from bench.sweep.record import write_json

SCHEMA = 1
CELL_TIMEOUT_S = 900.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the duel that the command line asks for; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(argument in ("-h", "--help") for argument in arguments):
        print(USAGE, end="")
        return 0
    try:
        return duel(parse(arguments))
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as ended:
        print("interrupted: the pairs that finished are kept", file=sys.stderr)
        return signals.status_of(ended)


def duel(options: Options) -> int:
    """Times both trees until every cell is decided or the budget is spent.

    Returns:
        0 when nothing got slower or the data cannot tell, 1 when something did.
    """
    folder = options.out
    if (folder / "duel.json").exists():
        raise BadInput(
            "out", "a folder without a duel in it", str(folder), "Name another one, or delete it."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput("out", "a folder that can be written", str(error)) from None
    with ExitStack() as stack:
        sides = {
            side: stack.enter_context(checked_out(side, asked))
            for side, asked in (("base", options.base), ("head", options.head))
        }
        # A lone cell is refused by its first process just as soon.
        for overrides in options.cells if len(options.cells) > 1 else ():
            for side, tree in sides.items():
                process.check(tree, overrides, folder / side)
        seed = random.randrange(2**32) if options.order_seed is None else options.order_seed
        shared, names = titles(options.cells)
        state: dict[str, Any] = {
            "schema": SCHEMA,
            "column": process.COLUMN,
            "budget_s": options.budget_s,
            "order_seed": seed,
            **{side: tree.described() for side, tree in sides.items()},
            "shared": shared,
            "cells": names,
            "pairs": [],
            "over": False,
        }
        try:
            _run_pairs(options, sides, state, random.Random(seed))
        except BadInput:
            if not state["pairs"]:
                # Nothing was timed: the same folder serves when the error is mended.
                (folder / "duel.json").unlink()
            raise
    verdict = _decide(folder, state)
    print((folder / "verdict.txt").read_text(encoding="utf-8"), end="")
    return 1 if verdict["worse"] else 0


def _run_pairs(
    options: Options, sides: dict[str, Tree], state: dict[str, Any], order: random.Random
) -> None:
    """Asks for a decision, runs the pairs that it wants, and again; marks the state as over."""
    started, done = time.monotonic(), 0
    while wanted := _decide(options.out, state)["wanted"]:
        batch = [want for want in wanted for _ in range(want["pairs"])]
        order.shuffle(batch)
        for want in batch:
            elapsed = time.monotonic() - started
            if done and elapsed + elapsed / done > options.budget_s:
                state["over"] = True
                return
            number = len(state["pairs"])
            pair = _pair(options, sides, want["cell"], number, order)
            state["pairs"].append({**pair, "round": want["round"]})
            done += 1
            _tell(state, elapsed, options.budget_s)
            write_json(options.out / "duel.json", state)
    state["over"] = True


def _pair(
    options: Options, sides: dict[str, Tree], cell: int, number: int, order: random.Random
) -> dict[str, Any]:
    """One process of each side, both at a time, timing in turns."""
    names = list(sides)
    order.shuffle(names)
    # One thread: a step that waits for the other cores measures who else is on them.
    threads = os.environ.get("NPROC", "1")

    overrides = options.cells[cell]
    with Referee(order.randrange(2**32), one_core=threads == "1") as referee, ExitStack() as stack:
        running = {}
        for name in names:
            folder = options.out / name
            variables = {"NPROC": threads, CACHE_VARIABLE: str(folder / "compiled")}
            variables |= referee.environment
            started = process.start(sides[name], overrides, folder, variables)
            running[name] = stack.enter_context(started)
        process.wait(running.values(), CELL_TIMEOUT_S, on_end=referee.ended)
        found = {}
        for name, started in running.items():
            keep = options.out / "pairs" / f"{number:04d}-{name}.json"
            told = process.outcome(started, sides[name], overrides, options.out / name, keep)
            found[name] = told._asdict()
        return {"cell": cell, **found}


def _decide(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    """What the statistics say of the pairs so far: verdicts, and the pairs that are still wanted.

    The statistics belong to the reports, which are asked as any reader of files is: by a command.
    """
    write_json(folder / "duel.json", state)
    done = sweep.reports("duel", str(folder))
    if done.returncode not in (0, 1):
        raise RuntimeError(f"no decision could be made:\n{done.stderr}")
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

"""From the ways of a contest to its cells: trials, costs, and fresh seeds at the best trial.

A trial learns on the training data without a part of it, which is what it is judged by; the test
data is read once, at the end of each of the fresh seeds. All are cells like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.config import MAX_SEED
from bench.errors import BadInput, one_of
from bench.launchers.processes import Processes
from bench.processes import cores
from bench.sweep import jobs
from bench.sweep.cell import Cell, told_apart
from bench.sweep.folder import Folder
from bench.sweep.progress import Watcher
from bench.sweep.sweep import Runner, in_turn
from bench.sweep.tuning import Tuning

LEARNS = "learning"


class Contest:
    """The cells of a sweep under ``tune=N``, which as composed are what competes: the ways.

    A BadInput for an axis that is tuned, a range that no way has, or no metric of learning.
    """

    def __init__(self, cells: Sequence[Cell], tuning: Tuning, path: Path) -> None:
        self._tuning = tuning
        self._points = tuning.points()
        self._timed = [cell.having(out=str(path)) for cell in cells]
        # Repeats are of what reads a clock; how a way learns is told by its seeds.
        self.ways = [cell for cell in self._timed if not cell.repeat]
        tunable = {name for cell in cells for name in _tunable(cell)}
        for name in set(tuning.ranges) - {"lr"} - tunable:
            expected = "a number that some algorithm of the sweep has"
            do = f"They have {one_of(tunable, 'none')}."
            raise BadInput(f"tune.{name}", expected, name, do)
        if any(LEARNS not in way.config.metric for way in self.ways):
            do = "Leave metric= out, or tune=N."
            raise BadInput("metric", "learning among them, to tune by", "others only", do)
        self._refuse_axes()

    def first(self) -> list[Cell]:
        """The costs of every way, and all trials: a point of all ways after the other."""
        costs = [
            cell.having(metric=rest)
            for cell in self._timed
            if (rest := {k: v for k, v in cell.config.metric.items() if k != LEARNS})
        ]
        trials = [self._trial(way, point) for point in self._points for way in self.ways]
        return told_apart([*costs, *trials])

    def finals(self, record_of: Callable[[Cell], Mapping[str, Any] | None]) -> list[Cell]:
        """Fresh seeds of every way at the trial of the lowest validation loss, seed by seed.

        A way none of whose trials came to a finite loss has none.
        """
        chosen = []
        for way in self.ways:
            losses = [_loss(record_of(self._trial(way, point))) for point in self._points]
            if math.isfinite(best := min(losses)):
                chosen.append((way, self._points[losses.index(best)]))
        finals = [
            _learning(way, point, "final", (way.config.seed + 1 + k) % (MAX_SEED + 1))
            for k in range(self._tuning.seeds)
            for way, point in chosen
        ]
        return told_apart(finals)

    def _trial(self, way: Cell, point: Mapping[str, float]) -> Cell:
        return _learning(way, point, "trial", way.config.seed)

    def runner(self, launched: Runner | None) -> Runner:
        """How the cells run: those that are timed in turn, those that learn side by side.

        The sweep's launcher, if it has one, runs all of them.
        """
        if launched is not None:
            return launched
        together = partial(jobs.launch, Processes(self._tuning.jobs or len(cores())))

        def run(todo: list[Cell], folder: Folder, watcher: Watcher) -> list[str]:
            learning = [cell for cell in todo if is_learning(cell)]
            timed = [cell for cell in todo if not is_learning(cell)]
            problems = in_turn(timed, folder, watcher)
            if learning:
                trials = learning[0].config.metric[LEARNS]["choose"] == "trial"
                watcher.say("trials:" if trials else "fresh seeds, at the best trial of each way:")
            return problems + together(learning, folder, watcher)

        return run

    def _refuse_axes(self) -> None:
        """Refuses an axis that is tuned: its values would compete as if they were other ways."""
        seen: dict[str, Cell] = {}
        for way in self.ways:
            point = dict.fromkeys(self._tuning.ranges, 0.0)
            other = seen.setdefault(_learning(way, point, "trial", 0).identity, way)
            if other is not way:
                came = " and ".join(" ".join(cell.apart) for cell in told_apart([other, way]))
                do = "Leave it out; tune.seeds=K and tune.lr=[A,B] set what is tried."
                raise BadInput("tune", "no axis of what it chooses itself", came, do)


def is_learning(cell: Cell) -> bool:
    """Whether a cell is a trial or a fresh seed, which measures learning alone."""
    return bool(cell.config.metric.get(LEARNS, {}).get("choose"))


def _learning(way: Cell, point: Mapping[str, float], choose: str, seed: int) -> Cell:
    """A way as a cell that learns at a point of what is tuned."""
    learning = {**way.config.metric[LEARNS], "choose": choose}
    tuned = {place: point[name] for name, place in _tunable(way).items() if name in point}
    algo = {**way.config.algo, **tuned}
    return way.having(algo=algo, lr=point["lr"], seed=seed, metric={LEARNS: learning}, repeats=1)


def _tunable(cell: Cell) -> dict[str, str]:
    """The algorithm's hyperparameters that are numbers: ``decay`` is ``decay_or_rank`` as well."""
    return {
        key.partition("_or_")[0]: key
        for key, value in cell.config.algo.items()
        if isinstance(value, float)
    }


def _loss(found: Mapping[str, Any] | None) -> float:
    """The validation loss of a trial; infinite where it has none."""
    fine = found if found and found["status"] == "ok" else {"metrics": {}}
    loss = fine["metrics"].get("validation_loss")
    return math.inf if loss is None else float(loss)

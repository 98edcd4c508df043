"""Jobs as tasks of a Ray cluster, or of a local one that lives as long as the sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.bounds import Count
from bench.launchers.base import Launcher, Outcome, needs
from bench.sweep import jobs

POLL_S = 2.0
LOST_WORDS = 300


class Ray(Launcher):
    """One task for each share, in a process of its own.

    Args:
        jobs: tasks that share the cells; None: one for every 50 cells.
        ray: ``init``, arguments of ``ray.init``, and ``remote``, options of the task.
    """

    def __init__(self, jobs: Count | None = None, ray: Mapping[str, Any] | None = None) -> None:
        needs("ray", "ray", "ray")
        super().__init__(jobs)
        settings = ray or {}
        self._init = dict(settings.get("init") or {})
        self._remote = dict(settings.get("remote") or {})
        self.here = self._init.get("address") == "local"

    def run(self, shares: Sequence[Path], logs: Path, tick: Callable[[int], None]) -> Outcome:
        import ray

        ray.init(**self._init)
        try:
            task = ray.remote(**self._remote)(jobs.run)
            running = dict(zip([task.remote(str(path)) for path in shares], shares, strict=True))
            recorded: list[str] = []
            lost: list[str] = []
            while running:
                ended, _ = ray.wait(list(running), timeout=POLL_S)
                for reference in ended:
                    path = running.pop(reference)
                    try:
                        recorded += ray.get(reference)
                    except ray.exceptions.RayError as error:
                        words = " ".join(str(error).split())[:LOST_WORDS]
                        lost.append(f"share {path.stem}: {words}")
                tick(len(shares) - len(running))
            return Outcome(recorded, lost)
        finally:
            # A local cluster ends with this; on a joined one the tasks of this sweep do.
            ray.shutdown()

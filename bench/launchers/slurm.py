"""Jobs through submitit: processes of this machine, or a job array of a Slurm cluster."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.bounds import Count, Positive
from bench.errors import BadInput
from bench.launchers.base import Launcher, Outcome, needs
from bench.sweep import jobs

POLL_S = 2.0
LOST_WORDS = 300


class _Job:
    """What a job calls; when Slurm ends it at its time limit it queues itself again."""

    def __call__(self, path: str) -> list[str]:
        return jobs.run(path)

    def checkpoint(self, path: str) -> Any:
        """The rest of the share: what is recorded is not run again."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, path)


class _Submitit(Launcher):
    """Submits with submitit's executor for one kind of cluster.

    Args:
        jobs: jobs that share the cells.
        cluster: submitit's name of the executor.
        parameters: of the executor; those that are None are left to it.
        options: of the executor's constructor.
    """

    def __init__(
        self, jobs: Count | None, cluster: str, parameters: Mapping[str, Any], **options: Any
    ) -> None:
        super().__init__(jobs)
        self._cluster = cluster
        self._options = options
        self._parameters = {k: v for k, v in parameters.items() if v is not None}

    def run(self, shares: Sequence[Path], logs: Path, tick: Callable[[int], None]) -> Outcome:
        import submitit

        executor = submitit.AutoExecutor(logs / "%j", cluster=self._cluster, **self._options)
        executor.update_parameters(**self._parameters)
        jobs = executor.map_array(_Job(), [str(path) for path in shares])
        try:
            while (ended := sum(job.done() for job in jobs)) < len(jobs):
                tick(ended)
                time.sleep(POLL_S)
        except BaseException:
            for job in jobs:
                job.cancel(check=False)
            raise
        recorded, lost = [], []
        for job in jobs:
            error = job.exception()
            if error is None:
                recorded += job.result()
            else:
                lost.append(f"job {job.job_id}: {_last_words(error)} [log: {job.paths.stderr}]")
        return Outcome(recorded, lost)


def _last_words(error: Exception) -> str:
    """The line of a remote traceback that says what happened."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line.strip("-") and not line.startswith("You can check")]
    return said[-1][:LOST_WORDS] if said else type(error).__name__


class Local(_Submitit):
    """Jobs in the background of this machine; all of them start at once.

    Args:
        jobs: jobs that share the cells; more than one disturb each other's times.
        timeout_min: minutes after which a job is ended.
    """

    here = True

    def __init__(self, jobs: Count | None = 1, timeout_min: Count = 1440) -> None:
        needs("submitit", "slurm", "submitit_local")
        super().__init__(jobs, "local", {"timeout_min": timeout_min})


class Slurm(_Submitit):
    """One job array on a Slurm cluster; the names are those of ``sbatch``.

    Args:
        jobs: jobs that share the cells; None: one for every 50 cells.
        timeout_min: minutes that a job may take; what it has not run by then is queued again.
        max_requeues: how often that may happen to one job.
        signal_delay_s: seconds before the limit at which a job is told to queue itself again.
        exclusive: ask for whole nodes, so that nobody disturbs the times.
        array_parallelism: jobs that run at the same time at most.
        partition, account, qos, constraint, exclude, gres: as in ``sbatch``.
        nodes, cpus_per_task, mem_gb, gpus_per_node: resources of one job.
        setup: shell commands before the job starts, such as ``module load``.
        additional_parameters: any further option of ``sbatch``.
    """

    here = False

    def __init__(
        self,
        jobs: Count | None = None,
        timeout_min: Count = 240,
        max_requeues: Count = 10,
        signal_delay_s: Count = 120,
        exclusive: bool = True,
        array_parallelism: Count = 256,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        exclude: str | None = None,
        gres: str | None = None,
        nodes: Count = 1,
        cpus_per_task: Count | None = None,
        mem_gb: Positive | None = None,
        gpus_per_node: Count | None = None,
        setup: list[str] | None = None,
        additional_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        needs("submitit", "slurm", "submitit_slurm")
        common = {
            "name": "etrace-bench",
            "timeout_min": timeout_min,
            "nodes": nodes,
            "mem_gb": mem_gb,
            "cpus_per_task": cpus_per_task,
            "gpus_per_node": gpus_per_node,
        }
        own = {
            "signal_delay_s": signal_delay_s,
            "exclusive": exclusive or None,
            "qos": qos,
            "array_parallelism": array_parallelism,
            "partition": partition,
            "gres": gres,
            "account": account,
            "constraint": constraint,
            "exclude": exclude,
            "setup": None if setup is None else [str(line) for line in setup],
            "additional_parameters": dict(additional_parameters or {}) or None,
        }
        super().__init__(
            jobs,
            "slurm",
            common | {f"slurm_{name}": value for name, value in own.items()},
            slurm_max_num_timeout=max_requeues,
        )

    def run(self, shares: Sequence[Path], logs: Path, tick: Callable[[int], None]) -> Outcome:
        if shutil.which("sbatch") is None:
            raise BadInput(
                "hydra/launcher",
                "sbatch on the PATH",
                "submitit_slurm",
                "Start the sweep on a login node of the cluster.",
            )
        return super().run(shares, logs, tick)

"""Jobs through submitit: a job array of a Slurm cluster, or of this machine as a rehearsal."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.bounds import Count, Positive
from bench.errors import BadInput
from bench.launchers.base import Job, Launcher
from bench.sweep import jobs

LOST_WORDS = 300

# Settings that submitit is not told, and those that it has for any cluster; the rest are Slurm's.
OWN = ("cluster", "here", "jobs", "max_requeues")
OF_SUBMITIT = ("timeout_min", "nodes", "mem_gb", "cpus_per_task", "gpus_per_node")


class _Share:
    """What a job calls; when Slurm ends it at its time limit it queues itself again."""

    def __call__(self, path: str) -> None:
        jobs.run(path)

    def checkpoint(self, path: str) -> Any:
        """The rest of the share: what is recorded is not run again."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, path)


@dataclass
class _Submitted(Job):
    job: Any

    def done(self) -> bool:
        return bool(self.job.done())

    def problem(self) -> str:
        error = self.job.exception()
        if error is None:
            return ""
        # The line of a remote traceback that says what happened.
        lines = [line.strip() for line in str(error).splitlines()]
        said = [line for line in lines if line.strip("-") and not line.startswith("You can check")]
        last = said[-1][:LOST_WORDS] if said else type(error).__name__
        return f"job {self.job.job_id}: {last} [log: {self.job.paths.stderr}]"

    def cancel(self) -> None:
        self.job.cancel(check=False)


@dataclass
class Submitit(Launcher):
    """One job array on a Slurm cluster, or as a rehearsal jobs on this machine that start at once.

    Args: as ``conf/hydra/launcher/submitit_slurm.yaml`` says; most are options of ``sbatch``, which
        a rehearsal does without.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    jobs: Count | None = None
    timeout_min: Count = 240
    max_requeues: Count = 10
    signal_delay_s: Count = 120
    exclusive: bool = True
    array_parallelism: Count = 256
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    nodes: Count = 1
    cpus_per_task: Count | None = None
    mem_gb: Positive | None = None
    gpus_per_node: Count | None = None
    setup: list[str] | None = None
    additional_parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.here = self.cluster == "local"
        if importlib.util.find_spec("submitit") is None:
            do, name = "Run pip install 'etrace-bench[slurm]'.", f"submitit_{self.cluster}"
            raise BadInput("hydra/launcher", "the package submitit to be installed", name, do)

    def start(self, shares: Sequence[Path], logs: Path) -> list[Job]:
        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            do = "Start the sweep on a login node of the cluster."
            raise BadInput("hydra/launcher", "sbatch on the PATH", "submitit_slurm", do)
        import submitit

        asked = vars(self) | {"setup": self.setup and [str(line) for line in self.setup]}
        executor = submitit.AutoExecutor(
            logs / "%j", cluster=self.cluster, slurm_max_num_timeout=self.max_requeues
        )
        settings = {
            name if name in OF_SUBMITIT else f"slurm_{name}": value
            for name, value in asked.items()
            if name not in OWN and value
        }
        executor.update_parameters(name="etrace-bench", **settings)
        return [_Submitted(job) for job in executor.map_array(_Share(), list(map(str, shares)))]

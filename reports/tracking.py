"""The records of sweeps as runs of an experiment tracker: MLflow, TensorBoard, Weights & Biases.

A tracker is a function that gets the runs and a place, and yields for each run whether it wrote it:
a run that is there already is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reports.errors import InputError
from reports.records import Record, Sweeps
from reports.records.table import leaves

KEY = "etrace_bench.key"
LONGEST = 6000  # characters of a parameter that MLflow takes
AT_ONCE = 100  # parameters that it takes in one call


@dataclass(frozen=True)
class Run:
    """One record as trackers know it."""

    key: str
    name: str
    settings: dict[str, str | float]  # with each leaf of the configuration as ``cfg.<path>``
    tags: dict[str, str]
    numbers: dict[str, float]  # the metrics
    curves: list[tuple[int, dict[str, float]]]  # epoch, and values of ``curve.<name>`` after it


def export(sweeps: Sweeps, to: str, place: str, experiment: str) -> tuple[int, int]:
    """Writes each record as one run; returns how many were written and how many were there.

    Args:
        to: a key of `TRACKERS`.
        place: a folder; MLflow takes its tracking URIs as well.
        experiment: MLflow's experiment, the project of Weights & Biases.

    Raises:
        InputError: the tracker's package is not installed, or cannot write there.
    """
    try:
        runs = [_run(record) for record in sweeps.records]
        written = list(TRACKERS[to](runs, place, experiment))
    except OSError:
        raise  # told as for any other file
    except ImportError as error:
        raise InputError(f"the package that writes to {to}", f"none ({error})",
                         f"Run pip install 'etrace-bench[{to}]'.") from None  # fmt: skip
    except Exception as error:  # each package has errors of its own
        raise InputError(f"a place that {to} can write to",
                         f"{place} ({' '.join(str(error).split())[:300]})",
                         "Name another with --out.") from None  # fmt: skip
    return sum(written), len(written) - sum(written)


def _run(record: Record) -> Run:
    row, curves = record["row"], dict(record["curves"])
    epochs = curves.pop("epoch", [])
    tags = {"status": record["status"], "reason": record["reason"], "health": record["health"],
            "commit": record["provenance"].get("commit")}  # fmt: skip
    settings = {**row, **{f"cfg.{path}": leaf for path, leaf in leaves(record["config"])}}
    return Run(
        key=record["key"],
        name=f"{row.get('algo')} {row.get('batching')} {row.get('model')} {record['key'][:6]}",
        settings={name: value if isinstance(value, int | float) else str(value)
                  for name, value in settings.items()},
        tags={name: str(value) for name, value in tags.items() if value},
        numbers={n: float(value) for n, value in record["metrics"].items() if value is not None},
        curves=[(int(epoch), {f"curve.{name}": float(values[i]) for name, values in curves.items()
                              if i < len(values) and values[i] is not None})
                for i, epoch in enumerate(epochs)],
    )  # fmt: skip


def mlflow(runs: Iterable[Run], place: str, experiment: str) -> Iterator[bool]:
    if "://" not in place and not place.startswith("file:"):
        place = Path(place).resolve().as_uri()
    if place.startswith("file:"):
        # MLflow asks to be told that a folder, without a database, is what is wanted.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(place)
    found = client.get_experiment_by_name(experiment)
    identifier = found.experiment_id if found else client.create_experiment(experiment)
    for run in runs:
        if client.search_runs([identifier], f"tags.`{KEY}` = '{run.key}'", max_results=1):
            yield False
            continue
        made = client.create_run(identifier, run_name=run.name, tags=run.tags).info
        params = [Param(name, str(value)[:LONGEST]) for name, value in run.settings.items()]
        for begin in range(0, len(params), AT_ONCE):
            client.log_batch(made.run_id, params=params[begin : begin + AT_ONCE])
        for step, values in [(0, run.numbers), *run.curves]:
            metrics = [Metric(name, v, made.start_time, step) for name, v in values.items()]
            client.log_batch(made.run_id, metrics=metrics)
        # Last, so that a run whose writing was interrupted is written again.
        client.set_tag(made.run_id, KEY, run.key)
        lost = run.tags["status"] not in ("ok", "skipped")
        client.set_terminated(made.run_id, "FAILED" if lost else "FINISHED")
        yield True


def tensorboard(runs: Iterable[Run], place: str, experiment: str) -> Iterator[bool]:
    from tensorboardX import SummaryWriter

    for run in runs:
        folder, part = Path(place, run.name), Path(place, f".{run.key}.part")
        if fresh := not folder.exists():
            # The suffix keeps this file apart from the one that add_hparams opens beside it.
            with SummaryWriter(str(part), filename_suffix=".curves") as writer:
                writer.add_hparams({**run.settings, **run.tags}, run.numbers, name=".")
                for step, values in run.curves:
                    for name, value in values.items():
                        writer.add_scalar(name, value, step)
            part.rename(folder)
        yield fresh


def wandb(runs: Iterable[Run], place: str, experiment: str) -> Iterator[bool]:
    """Offline: ``wandb sync`` of the folders that it makes sends them to a server."""
    from wandb import Settings, init

    for run in runs:
        if fresh := not list(Path(place).glob(f"wandb/offline-run-*-{run.key}")):
            Path(place).mkdir(parents=True, exist_ok=True)
            with init(mode="offline", dir=place, project=experiment, id=run.key, name=run.name,
                      config=run.settings, settings=Settings(silent=True)) as made:  # fmt: skip
                made.summary.update({**run.numbers, **run.tags})
                for epoch, values in run.curves:
                    made.log({"epoch": epoch, **values})
        yield fresh


Tracker = Callable[[Iterable[Run], str, str], Iterator[bool]]
TRACKERS: dict[str, Tracker] = {"mlflow": mlflow, "tensorboard": tensorboard, "wandb": wandb}

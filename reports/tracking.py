"""The rows of sweeps as runs of an MLflow server or of a local folder of runs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reports.errors import InputError
from reports.records import Record, Sweeps
from reports.records.table import leaves

KEY = "etrace_bench.key"
# What MLflow takes at once, and how long a value may be.
PARAMS_AT_ONCE = 100
METRICS_AT_ONCE = 1000
LONGEST_VALUE = 6000
PAGE = 1000


def to_mlflow(sweeps: Sweeps, uri: str | None, experiment: str) -> tuple[int, int]:
    """Writes each record as one run; a record that is there already is left alone.

    Settings become parameters, metrics metrics, curves metrics with the epoch as their step; the
    status, the reason and the warnings become tags.

    Args:
        sweeps: what the folders hold.
        uri: MLflow's tracking URI; None for ``mlruns`` in the first folder.
        experiment: name of MLflow's experiment.

    Returns:
        How many runs were written, and how many were there.

    Raises:
        InputError: mlflow is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise InputError("the package mlflow-skinny (or mlflow)", "none",
                         "Run pip install 'etrace-bench[tracking]'.")
    place = uri or str(sweeps.folders[0] / "mlruns")
    if "://" not in place and not place.startswith("file:"):
        place = Path(place).resolve().as_uri()
    if place.startswith("file:"):
        # MLflow asks to be told that a folder, without a database, is what is wanted.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(place)
        found = client.get_experiment_by_name(experiment)
        identifier = found.experiment_id if found else client.create_experiment(experiment)
        known = set(_known(client, identifier))
        fresh = [record for record in sweeps.records if record["key"] not in known]
        for record in fresh:
            _log(client, identifier, record)
    except (MlflowException, ImportError) as error:
        raise InputError(
            "a folder, a server or a database that MLflow can write to",
            f"{uri or place} ({' '.join(str(error).split())[:300]})",
            "A database takes the package mlflow in place of mlflow-skinny.",
        ) from None
    return len(fresh), len(sweeps.records) - len(fresh)


def _known(client: Any, experiment: str) -> Iterator[str]:
    token = None
    while True:
        page = client.search_runs([experiment], max_results=PAGE, page_token=token)
        yield from (run.data.tags[KEY] for run in page if KEY in run.data.tags)
        token = page.token
        if not token:
            return


def _log(client: Any, experiment: str, record: Record) -> None:
    from mlflow.entities import Metric, Param

    row = record["row"]
    name = f"{row.get('algo')} {row.get('batching')} {row.get('model')} {record['key'][:6]}"
    status = str(record["status"])
    tags = {"status": status, "reason": record.get("reason"), "health": record.get("health"),
            "commit": (record.get("provenance") or {}).get("commit")}
    run = client.create_run(experiment, run_name=name,
                            tags={n: str(value)[:LONGEST_VALUE] for n, value in tags.items()
                                  if value})
    identifier = run.info.run_id
    settings = {**row, **{f"cfg.{path}": v for path, v in leaves(record.get("config") or {})}}
    params = [Param(n, str(value)[:LONGEST_VALUE]) for n, value in settings.items()]
    when = run.info.start_time
    metrics = [Metric(n, float(value), when, 0) for n, value in record["metrics"].items()
               if isinstance(value, int | float)]
    curves = record.get("curves") or {}
    for curve, values in curves.items():
        metrics += [Metric(f"curve.{curve}", float(value), when, int(epoch))
                    for epoch, value in zip(curves.get("epoch", []), values, strict=False)
                    if curve != "epoch" and isinstance(value, int | float)]
    for begin in range(0, len(params), PARAMS_AT_ONCE):
        client.log_batch(identifier, params=params[begin : begin + PARAMS_AT_ONCE])
    for begin in range(0, len(metrics), METRICS_AT_ONCE):
        client.log_batch(identifier, metrics=metrics[begin : begin + METRICS_AT_ONCE])
    # Last, so that a run whose writing was interrupted is written again.
    client.set_tag(identifier, KEY, record["key"])
    client.set_terminated(identifier, "FINISHED" if status in ("ok", "skipped") else "FAILED")


def folder_of(uri: str | None, sweeps: Sweeps) -> str:
    """Where the runs are, for people."""
    return uri or str(Path(sweeps.folders[0]) / "mlruns")

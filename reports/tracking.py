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
AT_ONCE = {"params": 100, "metrics": 1000}
LONGEST_VALUE = 6000
PAGE = 1000


def to_mlflow(sweeps: Sweeps, uri: str | None, experiment: str) -> tuple[int, int, str]:
    """Writes each record as one run; a record that is there already is left alone.

    Settings become parameters, metrics metrics, curves metrics with the epoch as their step; the
    status, the reason and the warnings become tags.

    Args:
        sweeps: what the folders hold.
        uri: MLflow's tracking URI; None for ``mlruns`` in the first folder.
        experiment: name of MLflow's experiment.

    Returns:
        How many runs were written, how many were there, and where they are.

    Raises:
        InputError: mlflow is not installed, or cannot write there.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise InputError("the package mlflow-skinny (or mlflow)", "none",
                         "Run pip install 'etrace-bench[tracking]'.")  # fmt: skip
    place = told = uri or str(sweeps.folders[0] / "mlruns")
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
            f"{told} ({' '.join(str(error).split())[:300]})",
            "A database takes the package mlflow in place of mlflow-skinny.",
        ) from None
    return len(fresh), len(sweeps.records) - len(fresh), told


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

    row, status = record["row"], record["status"]
    tags = {"status": status, "reason": record["reason"], "health": record["health"],
            "commit": record["provenance"].get("commit")}  # fmt: skip
    run = client.create_run(
        experiment,
        run_name=f"{row.get('algo')} {row.get('batching')} {row.get('model')} {record['key'][:6]}",
        tags={name: str(value)[:LONGEST_VALUE] for name, value in tags.items() if value},
    )
    identifier, when = run.info.run_id, run.info.start_time
    settings = {**row, **{f"cfg.{path}": leaf for path, leaf in leaves(record["config"])}}
    curves = dict(record["curves"])
    epochs = curves.pop("epoch", [])
    numbers = [(name, number, 0) for name, number in record["metrics"].items()]
    numbers += [(f"curve.{name}", number, int(epoch)) for name, values in curves.items()
                for epoch, number in zip(epochs, values, strict=False)]  # fmt: skip
    logged = {
        "params": [Param(name, str(value)[:LONGEST_VALUE]) for name, value in settings.items()],
        "metrics": [Metric(name, float(number), when, step) for name, number, step in numbers
                    if number is not None],
    }  # fmt: skip
    for kind, items in logged.items():
        for begin in range(0, len(items), AT_ONCE[kind]):
            client.log_batch(identifier, **{kind: items[begin : begin + AT_ONCE[kind]]})
    # Last, so that a run whose writing was interrupted is written again.
    client.set_tag(identifier, KEY, record["key"])
    client.set_terminated(identifier, "FINISHED" if status in ("ok", "skipped") else "FAILED")

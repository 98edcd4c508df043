"""Runs in a tracker: every row once, with its settings, numbers, curves and warnings.

The packages themselves are not installed here. What stands in for each keeps to the calls that it
takes, and writes what it is told into `STORE`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from reports import cli
from reports.tracking import AT_ONCE, KEY
from tests.reports.synthetic_records import record, write_sweep

STORE: dict[str, Any] = {}


class Client:
    """What of MLflow's client is used."""

    def __init__(self, uri: str) -> None:
        STORE["uri"] = uri
        if uri.startswith("nonsense"):
            raise ValueError("no\ndriver")
        self.runs: dict[str, Any] = STORE.setdefault("runs", {})

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=name) if name in STORE else None

    def create_experiment(self, name: str) -> str:
        STORE[name] = True
        return name

    def search_runs(self, experiments: list[str], query: str, max_results: int) -> list[Any]:
        key = query.removeprefix(f"tags.`{KEY}` = '").removesuffix("'")
        return [run for run in self.runs.values() if run["tags"].get(KEY) == key][:max_results]

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        name = str(len(self.runs))
        self.runs[name] = {"tags": dict(tags), "settings": {}, "numbers": {}, "curves": []}
        return SimpleNamespace(info=SimpleNamespace(run_id=name, start_time=5))

    def log_batch(self, run: str, metrics: Any = (), params: Any = ()) -> None:
        assert len(params) <= AT_ONCE
        self.runs[run]["settings"].update(params)
        for name, value, step in metrics:
            if name.startswith("curve."):
                self.runs[run]["curves"].append((name, step, value))
            else:
                self.runs[run]["numbers"][name] = value

    def set_tag(self, run: str, name: str, value: str) -> None:
        self.runs[run]["tags"][name] = value

    def set_terminated(self, run: str, status: str) -> None:
        self.runs[run]["status"] = status


class SummaryWriter:
    """What of tensorboardX's writer is used: a folder of events."""

    def __init__(self, folder: str, filename_suffix: str) -> None:
        assert filename_suffix  # add_hparams has a file of its own there
        Path(folder).mkdir(parents=True)
        self.run: dict[str, Any] = {"curves": []}
        STORE.setdefault("runs", {})[folder] = self.run

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add_hparams(self, settings: dict[str, Any], numbers: dict[str, float], name: str) -> None:
        tags = {n: settings.pop(n) for n in ("status", "reason", "health", "commit")
                if n in settings}  # fmt: skip
        self.run |= {"settings": settings, "numbers": numbers, "tags": tags}

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.run["curves"].append((name, step, value))


class Offline:
    """What of a run of Weights & Biases is used: a folder with its name at the end."""

    def __init__(self, mode: str, dir: str, project: str, id: str, name: str, config: Any,
                 settings: Any) -> None:  # fmt: skip
        assert mode == "offline"
        Path(dir, "wandb", f"offline-run-20250101_000000-{id}").mkdir(parents=True)
        self.summary: dict[str, Any] = {}
        self.run: dict[str, Any] = {"settings": config, "curves": []}
        STORE.setdefault("runs", {})[id] = self.run

    def __enter__(self) -> Offline:
        return self

    def __exit__(self, *_: object) -> None:
        self.run["tags"] = {n: self.summary.pop(n) for n in list(self.summary)
                            if isinstance(self.summary[n], str)}  # fmt: skip
        self.run["numbers"] = self.summary

    def log(self, values: dict[str, float]) -> None:
        step = values.pop("epoch")
        self.run["curves"] += [(name, step, value) for name, value in values.items()]


FAKES: dict[str, dict[str, Any]] = {
    "mlflow": {"MlflowClient": Client},
    "mlflow.entities": {"Param": lambda name, value: (name, value),
                        "Metric": lambda name, value, when, step: (name, value, step)},
    "tensorboardX": {"SummaryWriter": SummaryWriter},
    "wandb": {"init": Offline, "Settings": SimpleNamespace},
}  # fmt: skip


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two records, and modules that stand for the trackers'."""
    STORE.clear()
    for name, parts in FAKES.items():
        fake = ModuleType(name)
        fake.__dict__.update(parts)
        monkeypatch.setitem(sys.modules, name, fake)
    lost = record("d_rtrl", status="oom", reason="out of memory at run")
    return write_sweep(tmp_path / "sweep", [record("bptt", health="never spikes"), lost])


@pytest.mark.parametrize(
    ("to", "place"), [("mlflow", "mlruns"), ("tensorboard", "tensorboard"), ("wandb", "")]
)
def test_a_row_is_a_run_and_is_written_once(
    to: str, place: str, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(sweep), "--to", to]) == 0
    assert capsys.readouterr().out.startswith(f"2 of 2 runs written to {sweep / place};")
    good, lost = sorted(STORE["runs"].values(), key=lambda run: run["tags"]["status"])
    built = record("bptt", health="never spikes")
    good["tags"].pop(KEY, None)
    assert good["tags"] == {"status": "ok", "health": "never spikes", "commit": "c0ffee0"}
    assert lost["tags"]["reason"] == "out of memory at run"
    assert str(good["settings"]["n_hidden"]) == "64"
    assert str(good["settings"]["cfg.lr"]) == "0.001"
    assert good["numbers"] == {n: v for n, v in built["metrics"].items() if v is not None}
    losses = [(step, value) for name, step, value in good["curves"] if name == "curve.loss"]
    assert losses == list(zip(built["curves"]["epoch"], built["curves"]["loss"], strict=True))
    assert not lost["numbers"]
    if to == "mlflow":
        assert (good["status"], lost["status"]) == ("FINISHED", "FAILED")
        good["tags"][KEY] = built["key"]
    cli.main(["export", str(sweep), "--to", to])
    assert capsys.readouterr().out.startswith(f"0 of 2 runs written to {sweep / place};")


def test_a_run_of_mlflow_whose_writing_broke_off_is_written_again(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["export", str(sweep), "--to", "mlflow"])
    assert STORE["uri"] == (sweep / "mlruns").as_uri()
    del next(iter(STORE["runs"].values()))["tags"][KEY]
    cli.main(["export", str(sweep), "--to", "mlflow", "--out", "http://elsewhere"])
    assert "1 of 2 runs written to http://elsewhere;" in capsys.readouterr().out
    assert STORE["uri"] == "http://elsewhere"


def test_what_a_tracker_refuses_is_one_sentence(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(sweep), "--to", "mlflow", "--out", "nonsense://x"]) == 2
    assert "got nonsense://x (no driver). Name another with --out." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("to", "package"), [("mlflow", "mlflow"), ("tensorboard", "tensorboardX"), ("wandb", "wandb")]
)
def test_without_its_package_the_extra_is_named(
    to: str,
    package: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["export", str(write_sweep(tmp_path, [record()])), "--to", to]) == 2
    assert f"Run pip install 'etrace-bench[{to}]'." in capsys.readouterr().err

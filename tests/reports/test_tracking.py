"""Runs in MLflow: every row once, with its settings, numbers, curves and warnings."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from reports import cli
from reports.tracking import KEY
from tests.reports.synthetic_records import record, write_sweep


class Client:
    """What of MLflow's client is used, in a dictionary."""

    def __init__(self, uri: str) -> None:
        STORE.setdefault("uri", uri)
        self.runs: dict[str, Any] = STORE.setdefault("runs", {})

    def get_experiment_by_name(self, name: str) -> Any:
        return types.SimpleNamespace(experiment_id=name) if name in STORE else None

    def create_experiment(self, name: str) -> str:
        STORE[name] = True
        return name

    def search_runs(self, experiments: list[str], max_results: int, page_token: str | None) -> Any:
        # One run a page.
        at = int(page_token or 0)
        names = list(self.runs)[at : at + 1]
        page = Page(types.SimpleNamespace(data=types.SimpleNamespace(tags=self.runs[n]["tags"]))
                    for n in names)
        page.token = str(at + 1) if at + 1 < len(self.runs) else None
        return page

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        name = str(len(self.runs))
        self.runs[name] = {"name": run_name, "tags": dict(tags), "params": {}, "metrics": []}
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=name, start_time=5))

    def log_batch(self, run: str, params: Any = (), metrics: Any = ()) -> None:
        assert 0 < len(params) + len(metrics) <= 1000
        assert len(params) <= 100
        self.runs[run]["params"].update(params)
        self.runs[run]["metrics"] += metrics

    def set_tag(self, run: str, name: str, value: str) -> None:
        self.runs[run]["tags"][name] = value

    def set_terminated(self, run: str, status: str) -> None:
        self.runs[run]["status"] = status


class Page(list[Any]):
    token: str | None


class Refused(Exception):
    """What MLflow raises."""


STORE: dict[str, Any] = {}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two records, and a module that stands for MLflow."""
    STORE.clear()
    fake, entities, exceptions = (
        types.ModuleType(name) for name in ("mlflow", "mlflow.entities", "mlflow.exceptions"))
    fake.MlflowClient = Client
    entities.Param = lambda name, value: (name, value)
    entities.Metric = lambda name, value, when, step: (name, value, step)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    exceptions.MlflowException = Refused
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", exceptions)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name: object() if name == "mlflow" else real(name))
    lost = record("d_rtrl", status="oom", reason="out of memory at run")
    return write_sweep(tmp_path / "sweep", [record("bptt", health="never spikes"), lost])


def export(*arguments: str) -> int:
    return cli.main(["export", *arguments, "--to", "mlflow"])


def test_a_row_is_a_run(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(str(sweep)) == 0
    assert capsys.readouterr().out == f"2 runs written to {sweep}/mlruns, 0 were there\n"
    assert STORE["uri"] == (sweep / "mlruns").as_uri()
    good, lost = sorted(STORE["runs"].values(), key=lambda run: run["status"], reverse=True)
    built = record("bptt", health="never spikes")
    assert (good["status"], lost["status"]) == ("FINISHED", "FAILED")
    assert good["tags"] == {"status": "ok", "health": "never spikes", "commit": "c0ffee0",
                            KEY: built["key"]}
    assert lost["tags"]["reason"] == "out of memory at run"
    assert good["params"]["n_hidden"] == "64"
    assert good["params"]["cfg.lr"] == "0.001"
    plain = {name: value for name, value, _ in good["metrics"] if not name.startswith("curve.")}
    assert plain == {n: v for n, v in built["metrics"].items() if v is not None}
    losses = [(step, value) for name, value, step in good["metrics"] if name == "curve.loss"]
    assert losses == list(zip(built["curves"]["epoch"], built["curves"]["loss"], strict=True))
    assert not lost["metrics"]


def test_a_run_is_written_once(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(str(sweep))
    # A run whose writing broke off has no key.
    del next(iter(STORE["runs"].values()))["tags"][KEY]
    export(str(sweep), "--uri", "http://elsewhere")
    assert capsys.readouterr().out.endswith("1 runs written to http://elsewhere, 1 were there\n")
    assert len(STORE["runs"]) == 3


@pytest.mark.parametrize("place", ["plain", "./plain"])
def test_a_folder_may_be_named_by_its_path(
    sweep: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export(str(sweep), "--uri", place) == 0
    assert STORE["uri"] == (tmp_path / "plain").as_uri()


def test_what_mlflow_refuses_is_one_sentence(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Client, name: str) -> Any:
        raise Refused("no\ndriver")

    monkeypatch.setattr(Client, "get_experiment_by_name", refuse)
    assert export(str(sweep), "--uri", "sqlite:///x.db") == 2
    assert "got sqlite:///x.db (no driver). A database takes" in capsys.readouterr().err


def test_without_mlflow_the_extra_is_named(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert export(str(sweep)) == 2
    assert "pip install 'etrace-bench[tracking]'" in capsys.readouterr().err

"""Records of an invented machine whose laws are known, written in the record format."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from reports.study import Study

Records = list[dict[str, Any]]
Rng = np.random.Generator
ALGOS = ["bptt", "d_rtrl", "es_d_rtrl"]
FACTOR = {"bptt": 1.0, "d_rtrl": 1.3, "es_d_rtrl": 0.7}
VERSIONS = {"jax": "0.10.2", "brainstate": "0.5.4"}


def step_time_ms(algo: str, batch: int, hidden: int, steps: int, batching: str = "manual") -> float:
    """The planted law: T B^0.9 H^1.5, vmap 10 % dearer, one sample at a time B times one sample."""
    samples = batch if batching == "single" else batch**0.9
    return (
        FACTOR.get(algo, 1.0)
        * steps
        * samples
        * hidden**1.5
        * 1e-5
        * (1.1 if batching == "vmap" else 1.0)
    )


def trace_mib(algo: str, batch: int, hidden: int) -> float:
    """The planted law of the traces: B I H for D-RTRL, B (I + H) for ES-D-RTRL, nothing for
    BPTT.
    """
    entries = {"d_rtrl": batch * 2 * hidden * hidden, "es_d_rtrl": batch * 3 * hidden}.get(algo, 0)
    return entries * 4 / 2**20


def memory_mib(algo: str, batch: int, hidden: int, steps: int) -> float:
    """Traces, plus for BPTT what it keeps of every step."""
    kept = steps * batch * hidden * 16 / 2**20 if algo == "bptt" else batch * hidden * 64 / 2**20
    return trace_mib(algo, batch, hidden) + kept + 1e-3


def record(
    algo: str = "bptt",
    batching: str = "manual",
    batch_size: int = 16,
    n_hidden: int = 64,
    n_steps: int = 16,
    seed: int = 0,
    repeat: int = 0,
    *,
    status: str = "ok",
    reason: str = "",
    model: str = "lif_net",
    task: str = "digits",
    device: str = "cpu",
    backend: str = "core",
    health: str = "",
    noise: float = 0.02,
    experiment: str = "demo",
    schema: int = 1,
    metrics: dict[str, float | None] | None = None,
    algo_config: dict[str, Any] | None = None,
    fingerprint: str = "machine-a",
    commit: str = "c0ffee0",
    created: str = "",
    versions: dict[str, str] | None = None,
) -> dict[str, Any]:
    """One record; `metrics` overrides or removes (None) what the planted laws give."""
    row = {
        "backend": backend,
        "algo": algo,
        "batching": batching,
        "model": model,
        "task": task,
        "batch_size": batch_size,
        "n_hidden": n_hidden,
        "n_layers": 1,
        "n_steps": n_steps,
        "device": device,
        "seed": seed,
        "repeat": repeat,
    }
    config = {
        **row,
        "algo": {"_target_": f"core.{algo}", "name": algo, **(algo_config or {})},
        "model": {"name": model},
        "task": {"name": task},
        "lr": 1e-3,
        "update_every": "sequence",
    }
    identity = json.dumps([config, commit, fingerprint], sort_keys=True)
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    rng = np.random.default_rng(int(key, 16))
    built: dict[str, Any] = {
        "schema": schema,
        "key": key,
        "experiment": experiment,
        "status": status,
        "reason": reason,
        "created": created or f"2025-01-01T00:00:{rng.integers(60):02d}+00:00",
        "row": row,
        "config": config,
        "metrics": {},
        "health": health,
        "samples": {},
        "curves": {},
        "fidelity": {},
        "traces": {},
        "memory": {"source": "VmHWM", "disagreement": ""},
        "provenance": {
            "commit": commit,
            "dirty": False,
            "versions": versions or VERSIONS,
            "python": "3.11.7",
            "processor": "Imaginary 9000",
            "cores": 2,
            "affinity": [0, 1],
            "memory_gib": 16.0,
            "load_before": 0.1,
            "load_after": 0.2,
            "xla_flags": "",
            "compilation_cache": "off",
            "threads": 2,
            "hostname_hash": "ab12",
            "fingerprint": fingerprint,
        },
        "log": f"cells/{key}.log",
    }
    if status == "ok":
        built |= _measured(rng, row, noise)
        built["metrics"] |= metrics or {}
    return built


def _measured(rng: np.random.Generator, row: dict[str, Any], noise: float) -> dict[str, Any]:
    algo, batch, hidden, steps = (row[k] for k in ("algo", "batch_size", "n_hidden", "n_steps"))
    centre = step_time_ms(algo, batch, hidden, steps, row["batching"]) * math.exp(
        noise * rng.standard_normal()
    )
    samples = centre * np.exp(0.01 * rng.standard_normal(15))
    time = float(np.median(samples))
    cosine = {"bptt": 1.0, "d_rtrl": 0.97}.get(algo, 0.80)
    epochs = list(range(1, 11))
    # Losses are seeded: the way of batching and the process change nothing.
    seeded = np.random.default_rng([row["seed"], *algo.encode()])
    loss = [2.3 * math.exp(-0.15 * cosine * e) + 0.02 * seeded.standard_normal() for e in epochs]
    accuracy = [1 - 0.9 * math.exp(-0.3 * cosine * e) for e in epochs]
    weights = {"linear.weight": cosine, "out.weight": 1.0}
    memory = memory_mib(algo, batch, hidden, steps)
    return {
        "metrics": {
            "step_time_ms": time,
            "step_time_ms_lo": time * 0.99,
            "step_time_ms_hi": time * 1.01,
            "timesteps_per_s": 1e3 * batch * steps / time,
            "sequences_per_s": 1e3 * batch / time,
            "trace_s": 0.3,
            "lower_s": 0.1,
            "compile_s": 0.5,
            "first_call_s": 0.02,
            "memory_xla_mib": memory,
            "memory_temp_mib": memory * 0.8,
            "memory_peak_mib": memory * 1.05,
            "etrace_mib": trace_mib(algo, batch, hidden),
            "flops_per_step": 4.0 * batch * hidden * hidden * steps,
            "limit_ratio": 1.7,
            "loss_first": loss[0],
            "loss_final": loss[-1],
            "accuracy": accuracy[-1],
            "test_accuracy": accuracy[-1] - 0.02,
            "grad_cosine": cosine,
            "grad_rel_error": 1 - cosine,
            "grad_norm": 0.7,
            "firing_rate": 0.1,
            "n_compilations": 1,
        },
        "samples": {"step_time_ms": samples.tolist()},
        "curves": {
            "epoch": epochs,
            "loss": loss,
            "accuracy": accuracy,
            "test_accuracy": [a - 0.02 for a in accuracy],
            "train_time_s": [time * e / 100 for e in epochs],
        },
        "fidelity": {w: {"cosine": c, "rel_error": 1 - c} for w, c in weights.items()},
        "traces": {"linear.weight": trace_mib(algo, batch, hidden) * 2**20},
    }


def way(
    rng: Rng,
    algo: str,
    ms: float,
    mib: float,
    accuracy: float | None = 0.9,
    *,
    noise: float = 0.02,
    spread: float = 0.01,
    seeds: int = 3,
    repeats: int = 1,
    n_test: int | None = 1000,
    classes: int | None = 10,
    metrics: dict[str, Any] | None = None,
    **rest: Any,
) -> Records:
    """The records of one way: its true time, memory and accuracy, with noise of the machine in time
    and of the seeds in accuracy.
    """
    made = []
    for seed, repeat in itertools.product(range(seeds), range(repeats)):
        time = ms * np.exp(noise * rng.standard_normal())
        seeded = np.random.default_rng([seed, *algo.encode(), int(rng.integers(1 << 30))])
        found = (
            None
            if accuracy is None
            else float(np.clip(accuracy + spread * seeded.standard_normal(), 0, 1))
        )
        figures = {
            "step_time_ms": time,
            "step_time_ms_lo": time * 0.99,
            "step_time_ms_hi": time * 1.01,
            "memory_xla_mib": mib,
            "memory_peak_mib": mib,
            "test_accuracy": found,
            "accuracy": found,
            "loss_final": None if found is None else 2.3 * (1 - found),
            "n_classes": classes,
        }
        built = record(
            algo, seed=seed, repeat=repeat, metrics={**figures, **(metrics or {})}, **rest
        )
        if n_test:
            built["config"]["task"]["n_test"] = n_test
        made.append(built)
    return made


def failing(status: str, runs: int = 1, **where: Any) -> Records:
    return [
        record(status=status, reason="RESOURCE_EXHAUSTED", repeat=i, **where) for i in range(runs)
    ]


def grid(**axes: Sequence[Any]) -> Records:
    """The records of every combination of the axes' values."""
    return [
        record(**dict(zip(axes, values, strict=True)))
        for values in itertools.product(*axes.values())
    ]


def study(records: Records) -> Study:
    """The study of these records, which are in no folder."""
    # Not imported above: the timed suite counts what each of its steps imports.
    from reports.records import Sweeps
    from reports.study import Study

    return Study(Sweeps((Path("."),), records))


def told(records: Records) -> str:
    """The report of these records as Markdown, without drawings."""
    from reports.page import Context, markdown

    return markdown(Context(study(records), [], []))


def write_sweep(folder: Path, records: Iterable[dict[str, Any]], **manifest: Any) -> Path:
    """A sweep's folder with these records, and a manifest where one is given."""
    cells = folder / "cells"
    cells.mkdir(parents=True, exist_ok=True)
    for built in records:
        (cells / f"{built['key']}.json").write_text(json.dumps(built))
    if manifest:
        (folder / "sweep.json").write_text(json.dumps({"schema": 1, **manifest}))
    return folder

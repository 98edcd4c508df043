"""Records of contests whose outcome is planted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import synthetic_records as synthetic

RATES = [0.01, 0.00316, 0.0316, 0.00178]
TUNE = {"trials": 4, "lr": [1e-3, 1e-1], "decay": None, "seeds": 5, "jobs": None}


def record(
    algo: str,
    kind: str,
    seed: int,
    lr: float,
    metrics: dict[str, Any],
    status: str = "ok",
    **config: Any,
) -> dict[str, Any]:
    learning = {"learning": {"choose": kind}} if kind else {"timing": {}}
    return {
        "key": f"{algo}-{kind}-{seed}-{lr}-{config}", "status": status, "reason": "",
        "row": {"algo": algo, "task": "digits", "model": "gru", "n_hidden": 32, "seed": seed,
                "batching": "manual", "backend": "core", "repeat": 0},
        "metrics": {"n_classes": 10, **metrics}, "curves": {"train_steps": [20, 40, 600]},
        "config": {"lr": lr, "seed": seed, "epochs": 30, "metric": learning, "tune": TUNE,
                   "algo": {"_target_": f"core.{algo}"}, "task": {},
                   "update_every": "sequence", **config},
    }  # fmt: skip


def way(rng: np.random.Generator, algo: str, accuracy: float = 0.9, steps: float = 200.0,
        ms: float = 1.0, best: int = 0, spread: float = 0.01, seeds: int = 5,
        **config: Any) -> list[dict[str, Any]]:  # fmt: skip
    """A way whose trials differ wildly, with its best at RATES[best]."""

    def to_target() -> float | None:
        found = 20 * math.ceil(steps * math.exp(rng.normal(0, 0.1)) / 20)
        return found if found <= 600 else None

    costs = {"step_time_ms": ms, "step_time_ms_lo": 0.98 * ms, "step_time_ms_hi": 1.02 * ms}
    out = [record(algo, "", 0, 1e-3, costs, **config)]
    out += [record(algo, "trial", 0, lr, {"validation_loss": 0.3 if i == best else 2.3,
                                          "validation_accuracy": 0.9 if i == best else 0.1},
                   **config) for i, lr in enumerate(RATES)]  # fmt: skip
    return out + [
        record(algo, "final", seed, RATES[best], {
            "test_accuracy": float(np.clip(rng.normal(accuracy, spread), 0, 1)), "n_test": 1000,
            "target_accuracy": 0.8, "steps_to_target": to_target()}, **config)
        for seed in range(1, 1 + seeds)]  # fmt: skip


def complete(made: dict[str, Any]) -> dict[str, Any]:
    """The record with what every record has."""
    whole = synthetic.record(made["row"]["algo"], seed=made["row"]["seed"], model="gru",
                             n_hidden=32)  # fmt: skip
    return {**whole, **made, "config": {**whole["config"], **made["config"]},
            "row": {**whole["row"], **made["row"]}}  # fmt: skip

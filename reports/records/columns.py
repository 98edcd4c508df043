"""The columns of a results table: their order, units, meaning and which direction is better.

`columns.csv` documents each, a row a column in the order of the results table.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from math import inf


@dataclass(frozen=True)
class Column:
    """One documented column."""

    name: str  # in ``results.parquet``
    # "cell" says which cell it is, "metric" is in every table, "further" are other metrics, "note"
    # is to be known of one.
    kind: str
    unit: str  # of its numbers, "" for words and for ratios
    better: str  # which direction is an improvement, "low" or "high"; "" where neither is
    title: str  # a short heading for people
    words: str  # one sentence that says what it is


with (files("reports.records") / "columns.csv").open(encoding="utf-8") as _file:
    COLUMNS = {row["name"]: Column(**row) for row in csv.DictReader(_file)}
CONTRACT = tuple(c.name for c in COLUMNS.values() if c.kind in ("cell", "metric"))
METRICS = tuple(c for c in COLUMNS.values() if c.kind in ("metric", "further"))

# What a seed decides alone: further processes of one seed give the same number again.
SEEDED = frozenset({"loss_first", "loss_final", "accuracy", "test_accuracy", "r2", "test_r2",
                    "grad_cosine", "grad_rel_error", "grad_norm", "firing_rate"})  # fmt: skip
# Metrics that may be recorded as true and false.
FLAGS = frozenset({"contended", "latency_contended", "steady"})
# Shares and cosines, whose intervals end where their values do.
BOUNDS = {"accuracy": (0.0, 1.0), "test_accuracy": (0.0, 1.0), "grad_cosine": (-1.0, 1.0),
          "r2": (-inf, 1.0), "test_r2": (-inf, 1.0)}  # fmt: skip

# What a record has null of where training, or its first gradient, came to no number.
DIVERGES = ("test_r2", "r2", "loss_final", "grad_norm")

# Settings that make two cells different experiments; seed and repeat are replications of one.
SETTINGS = ("backend", "algo", "batching", "model", "task", "batch_size", "n_hidden", "n_layers",
            "n_steps", "device")  # fmt: skip
REPLICATION = ("seed", "repeat")
WHOLE = ("batch_size", "n_hidden", "n_layers", "n_steps", *REPLICATION)  # numbers
SIZES = ("n_steps", "n_hidden", "batch_size")
SYMBOLS = {"batch_size": "B", "n_hidden": "H", "n_steps": "T"}
# What a paper calls the values of settings.
NAMES = {
    "bptt": "BPTT",
    "bptt_checkpointed": "checkpointed BPTT",
    "bptt_truncated": "truncated BPTT",
    "immediate": "within a step",
    "d_rtrl": "D-RTRL",
    "es_d_rtrl": "ES-D-RTRL",
    "rtrl": "RTRL",
    "gru": "GRU",
    "lif_net": "LIF network",
    "lif_snn": "LIF layers",
    "manual": "by hand",
    "vmap": "vmap",
}
# The settings of a way of computing; the others say what is computed.
WAYS = ("algo", "batching", "backend")
HELD = [s for s in SETTINGS if s not in WAYS]


def describe(name: str) -> Column:
    """The documentation of a column; columns nobody documented describe themselves."""
    title = name.rpartition(".")[2] if name.startswith("cfg.") else name
    untold = Column(name, "further", "", "", title.replace("_", " "), "recorded by this sweep")
    return COLUMNS.get(name, untold)


def heading(name: str) -> str:
    """A heading with its unit, such as "step time (ms)"."""
    column = describe(name)
    return f"{column.title} ({column.unit})" if column.unit else column.title

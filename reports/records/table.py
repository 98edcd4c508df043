"""Records to data frames: the results table and its files on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from reports.errors import InputError
from reports.records.columns import CONTRACT, DIVERGES, METRICS, WHOLE
from reports.records.read import Record, read_sweeps
from reports.records.settings import whole

_WORDS = ("key", "experiment", "backend", "algo", "batching", "model", "task", "device", "status",
          "reason", "health", "diverged")  # fmt: skip
LEAST_CPU = 0.85  # of the time; below it a process counts as contended, as bench has it
# What decides whether two numbers may be compared; the load and the time of day do not.
_COMPARED = ("versions", "python", "processor", "cores", "fingerprint", "commit")


def load(*folders: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """One row per record of the given sweeps, for notebooks: of folders, or of lists of them.

    Columns: the contract's (null where a record lacks them), every further metric, ``<metric>_lo``
    and ``<metric>_hi`` where intervals were recorded, each leaf of the composed configuration as
    ``cfg.<path>``, and where the row was measured as ``env.<fact>``. Units and meanings:
    ``reports.records.columns``.

    Raises:
        InputError: a folder is not a sweep, has no usable record, or mixes schema versions.
    """
    every = [[some] if isinstance(some, str | Path) else some for some in folders]
    return frame(read_sweeps(folder for some in every for folder in some).records)


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row per record; see `load` for the columns."""
    rows = []
    for record in records:
        own = ("key", "experiment", "status", "reason", "health")
        # What a plug-in measures may be called status, and is none.
        row = record["metrics"] | record["row"] | {name: record.get(name) for name in own}
        row["diverged"] = next((m for m in DIVERGES if record["metrics"].get(m, 0.0) is None), "")
        row.update(("cfg." + path, _quoted(leaf)) for path, leaf in leaves(record["config"]))
        for fact in _COMPARED:
            told = record["provenance"].get(fact)
            if isinstance(told, dict):
                told = ", ".join(f"{name} {version}" for name, version in sorted(told.items()))
            if told not in (None, ""):
                row[f"env.{fact}"] = str(told)
        if (contended := recorded_contention(record)) is not None:
            row["contended"] = contended
        rows.append(row)
    table = pd.DataFrame(rows, dtype=object)  # pandas would make floats of large whole numbers
    table = table.reindex(columns=_ordered(table.columns))
    # Converted all at once: adding a hundred columns one by one fragments the frame.
    return pd.DataFrame({name: _typed(name, table[name]) for name in table.columns})


def recorded_contention(record: Record) -> float | None:
    """Whether its process noticed that others took part of the machine; None if nobody looked."""
    parts = (record, record["row"], record["metrics"], record["provenance"])
    told = [part.get("contended") for part in parts]
    return next((float(t) for t in told if isinstance(t, int | float) and t == t), None)


def one_thread(table: pd.DataFrame) -> pd.Series:
    """Whether each row's process computed on one thread and kept its core meanwhile.

    Load that takes the cores of several threads moves even the ratio of two that take turns. That
    of one it leaves alone, unless there is more to do than cores: other programs then cut into
    every step that outlasts a slice of the scheduler, and into the longer of two more often.
    """
    asked = ["cfg.threads", "env.cores", "cpu_per_wall"]
    told = table.reindex(columns=asked).apply(pd.to_numeric, errors="coerce").astype("float64")
    return told[asked[:2]].eq(1).any(axis=1) & ~told["cpu_per_wall"].lt(LEAST_CPU)


def leaves(config: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Every leaf of a nested configuration as (dotted path, value); lists become JSON text."""
    if isinstance(config, dict):
        return [leaf for name, value in config.items()
                for leaf in leaves(value, f"{prefix}.{name}" if prefix else str(name))]  # fmt: skip
    return [(prefix, json.dumps(config) if isinstance(config, list) else config)]


def _quoted(leaf: Any) -> Any:
    """A leaf, in JSON's quotes where its text reads as a value of another kind: "1", "true", ""."""
    if not isinstance(leaf, str):
        return leaf
    if not leaf or leaf[0] == '"' or leaf.lower() in ("true", "false"):
        return json.dumps(leaf)
    try:
        float(leaf)
    except ValueError:
        return leaf
    return json.dumps(leaf)


def write(table: pd.DataFrame, folder: Path) -> None:
    """Writes ``results.parquet`` and ``results.csv`` into the folder."""
    # As bytes: pyarrow takes no path that is not UTF-8, nor older pandas a file that has one.
    (folder / "results.parquet").write_bytes(table.to_parquet(index=False))
    table.to_csv(folder / "results.csv", index=False)


def read_parquet(file: Path) -> pd.DataFrame:
    """The table that `write` wrote.

    Raises:
        InputError: the file is not a results table.
    """
    from pyarrow import ArrowException

    try:
        with file.open("rb") as opened:
            table = pd.read_parquet(opened)
        lacks = [c for c in CONTRACT if c not in table][:5]
        why = f"without {', '.join(lacks)}" if lacks else ""
    except (OSError, ArrowException) as error:
        why = f"({error})"
    if why:
        raise InputError("a sweep's folder or a results.parquet with the contract's columns",
                         f"{file} {why}", "Rebuild it with python -m reports DIR.")  # fmt: skip
    return table


def _ordered(columns: Iterable[str]) -> list[str]:
    """Contract first (also what no record has), intervals beside their metric, settings last."""
    settings = sorted(c for c in columns if c.startswith(("cfg.", "env.")))
    documented = [*CONTRACT, *(c.name for c in METRICS)]
    names = dict.fromkeys([*documented, *(c for c in columns if c not in settings)])
    ends = {name: [e for e in (f"{name}_lo", f"{name}_hi") if e in names] for name in names}
    inner = {end for some in ends.values() for end in some}
    return [*(c for n in names if n not in inner for c in (n, *ends[n])), *settings]


def _typed(name: str, values: pd.Series) -> pd.Series:
    """One type a column, so that parquet takes it: whole numbers, floats, booleans or text."""
    known = [None if v is None or v != v else v for v in values]
    if name in WHOLE:
        # Not by way of floats, which lose the last digits of a large seed.
        return pd.Series(pd.array(known, "Int64"), index=values.index)
    if name in _WORDS or name.startswith("env."):
        return values.astype("string").fillna("")
    if not name.startswith("cfg."):
        return pd.to_numeric(values, errors="coerce").astype("float64")
    kinds = {type(v) for v in known if v is not None}
    if kinds <= {bool}:
        return values.astype("boolean")
    if kinds <= {int}:
        return values.astype("Int64")
    exact = all(type(v) is not int or abs(v) <= 2**53 for v in values)
    if kinds <= {int, float} and exact:
        return pd.to_numeric(values).astype("float64")
    told = [None if v is None else whole(v) for v in known]
    return pd.Series(told, index=values.index, dtype="string")

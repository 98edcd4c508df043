"""The rows that are judged, each with what it is a case of.

A *setting* is what has to be equal before two numbers may be compared: task, model, sizes, device,
machine, and every option that belongs to no way of computing (data type, epochs, ...). A *way* is
what can be chosen: algorithm, batching and library with their options. A *method* is a way without
its batching, which changes neither gradient nor learning but for rounding. The learning rate is
tuned and tells neither apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.records import Record, frame
from reports.records.columns import HELD, REPLICATION, SETTINGS, SIZES, SYMBOLS, WAYS
from reports.records.settings import variants, varying_within
from reports.records.table import one_thread, recorded_contention

TUNED, UPDATES = "cfg.lr", "cfg.update_every"
_IN_WORDS = {"update_every=sequence": "", "update_every=1": " (updated every step)"}
_OF_A_WAY = frozenset({"algo", "backend", "batching", "update_every", "python", "devices"})


def rows(records: Sequence[Record]) -> pd.DataFrame:
    """The newest row of every cell, with ``setting``, ``way``, ``method``, ``variant``, ``lr``;
    ``exact``, whether it is the BPTT that others take turns with, and ``beside``, what that shares
    with it: interpreter and devices.

    A cell measured again after its code changed has two records; the older one is history and
    would pass for a repeat of the newer.

    Returns:
        The columns of `reports.records.frame` and those named above; ``machine``; ``contended``;
        ``one_thread``; ``examined``, whether faults of training were looked for; ``silent`` and
        ``weights``, how many weights get no gradient, of how many compared; ``choose``,
        "trial" or "final" of a contest's cells and "" of others; ``budget`` and ``stride``, the
        training steps of a seed, and those between two evaluations.
    """
    table = _with_provenance(frame(records), records)
    options = [c for c in varying_within(table, SETTINGS) if _of_a_way(c)]
    # Told also where all share it, unless it is the usual one: it changes what is computed.
    updates = table[UPDATES].dropna().astype(str) if UPDATES in table else pd.Series(dtype=str)
    if UPDATES not in options and updates.ne("sequence").any():
        options.append(UPDATES)
    table, held = _with_unknown_settings(table)
    told = [c for c in table if c == TUNED or c.startswith("cfg.tuned.")]
    cell = [*SETTINGS, *options, *held, *told, *REPLICATION, "machine", "choose"]
    newest = ~table.duplicated(list(dict.fromkeys(cell)), keep="last")
    table = table[newest].reset_index(drop=True)
    variant = pd.Series(variants(table, options), index=table.index, dtype="string")
    for option, words in _IN_WORDS.items():
        variant = variant.str.replace(rf" {option}\b", words, regex=True)
    places = [c for c in options if c in ("cfg.python", "cfg.devices")]
    every = table.get(UPDATES, pd.Series("sequence", index=table.index)).astype(str)
    own = {"algo": "bptt", "batching": "manual", "backend": "core"}
    batching, library = (" · " + table[s] if table[s].nunique() > 1 else ""
                         for s in ("batching", "backend"))  # fmt: skip
    return table.assign(
        variant=variant,
        method=variant + library,
        way=variant + batching + library,
        beside=variants(table.assign(algo=""), places),
        exact=table[list(own)].eq(own).all(axis=1) & every.eq("sequence"),
        setting=table.groupby(held, dropna=False, sort=False).ngroup(),
        lr=_numbers(table, TUNED),
        n_test=table["n_test"].fillna(_numbers(table, "cfg.task.n_test")),
    )


def _numbers(table: pd.DataFrame, column: str) -> pd.Series:
    """A column as floats; nan where it is absent or holds something else."""
    found = table.get(column, pd.Series(math.nan, index=table.index))
    return pd.to_numeric(found, errors="coerce").astype("float64")


def _with_unknown_settings(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table and the columns that make a setting.

    A cell that gave no result and does not tell an option was tried where the others were: it takes
    their value where they share one.
    """
    held = held_columns(table)
    ok = table["status"].eq("ok")
    for column in (c for c in held if c.startswith("cfg.")):
        known = table[ok].groupby(HELD, dropna=False)[column]
        shared = known.first().where(known.nunique(dropna=False).eq(1)).rename("shared")
        told = table[HELD].join(shared, on=HELD)["shared"]
        table[column] = table[column].where(ok | table[column].notna(), told)
    return table, held_columns(table)


def held_columns(table: pd.DataFrame) -> list[str]:
    """The columns that make a setting: those of every table, and the options that vary here."""
    own = [c for c in varying_within(table, HELD) if c not in SETTINGS]
    options = [c for c in own if of_no_way(c)]
    several = ["machine"] if table["machine"].nunique() > 1 else []
    return [*HELD, *several, *options]


def of_no_way(column: str) -> bool:
    """Whether a setting says what is computed: it is no way of computing, nor tuned for one."""
    return column not in (*WAYS, TUNED) and not _of_a_way(column)


def _of_a_way(column: str) -> bool:
    """Whether an option belongs to a way of computing."""
    parts = column.split(".")
    return parts[0] == "cfg" and parts[1] in _OF_A_WAY and column[4:] not in SETTINGS


def _with_provenance(table: pd.DataFrame, records: Sequence[Record]) -> pd.DataFrame:
    places, weights = ([r[part] for r in records] for part in ("provenance", "fidelity"))
    evaluated = [[n for n in r["curves"].get("train_steps", ()) if n] for r in records]
    machines = [str(p.get("machine") or p.get("fingerprint") or "") for p in places]
    # A fingerprint is long; its beginning will do where that tells the machines apart.
    short = {m: m[:8] for m in machines}
    distinct = len(set(short.values())) == len(short)
    choose = table.get("cfg.metric.learning.choose", pd.Series("", index=table.index))
    return table.assign(
        choose=choose.astype(object).where(choose.notna(), "").astype(str),
        machine=[short[m] if distinct else m for m in machines],
        contended=pd.Series(map(contended, records), index=table.index, dtype=bool)
        | table["shared_with"].gt(0),
        one_thread=one_thread(table),
        examined=_examined(table),
        silent=[sum(map(no_gradient, w.values())) for w in weights],
        weights=[len(w) for w in weights],
        budget=[max(steps, default=math.nan) for steps in evaluated],
        stride=[min(steps, default=math.nan) for steps in evaluated],
    )  # fmt: skip


def _examined(table: pd.DataFrame) -> pd.Series:
    """Whether each row's cell looked for what is wrong with training, which repeats leave to the
    first process; all where no record tells.
    """
    asked = table.filter(regex=r"^cfg\.metric\.(health|fidelity)\b").notna().any(axis=1)
    return asked | table["health"].ne("") | (not asked.any())


def contended(record: Record) -> bool:
    """Whether a cell was timed under contention: as its process noticed it; where that is not
    recorded, whether more was running than the machine has cores, before the cell or beside it.

    The load before it may hold some of the cell before, that after it holds the cell itself, which
    fills the cores.
    """
    if (told := recorded_contention(record)) is not None:
        return bool(told)
    place = record["provenance"]
    cores, before, after = (number(place.get(x)) for x in ("cores", "load_before", "load_after"))
    return before > cores + 0.5 or after > cores + 1.0


def no_gradient(found: Mapping[str, float | None]) -> bool:
    """Whether a weight's gradient is nothing where BPTT's is not: all of BPTT's is missing."""
    return found.get("cosine") is None and found.get("rel_error") == 1


def words(row: Mapping[str, Any], columns: Sequence[str], between: str = " · ") -> str:
    """These settings of a row in words: "lif_net · digits · H = 128 · epochs = 20".

    An option that its model or task lacks is named only where nothing else is.
    """
    told: list[str] = []
    lacking: list[str] = []
    for column in columns:
        value, leaf = row[column], column.removeprefix("cfg.").rsplit(".", 1)[-1]
        name = SYMBOLS.get(column, leaf)
        text = f"{name} = {'null' if pd.isna(value) else value}"
        own = column.startswith(("cfg.model.", "cfg.task.")) and pd.isna(value)
        plain = column in ("model", "task", "device")
        (lacking if own else told).append(str(value) if plain else text)
    return between.join(told or lacking)


def number(value: Any) -> float:
    """A size as a number; nan where it is none."""
    return float(value) if isinstance(value, int | float | np.number) else math.nan


def varied(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Those of these columns with more than one value, sizes last."""
    several = [c for c in columns if table[c].nunique(dropna=False) > 1]
    return [*(c for c in several if c not in SIZES), *(c for c in SIZES if c in several)]

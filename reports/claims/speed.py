"""Claims about time: batching against loops, manual against vmap, how far an algorithm scales."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.claims.base import (
    ABOUT,
    BATCHING,
    SNN,
    STRATEGIES,
    Claim,
    Finding,
    Ratio,
    alike,
    all_of,
    apart_from_algorithm,
    growth,
    judged,
    judged_if,
    keys_of,
    largest_batch,
    of_largest_batch,
    ratio,
    untested,
)
from reports.records.columns import describe
from reports.study import Study
from reports.text import short, times

ORDER = 20
TIME = "step_time_ms"
SAME_MEMORY = 1.02  # memories within 2 % count as equal


def _ways(study: Study, of: str, to: str) -> Ratio | None:
    cells = study.cells
    if cells.empty:
        return None
    return ratio(cells, cells["batching"].eq(of), cells["batching"].eq(to), TIME, ["batching"])


def manual_is_faster(study: Study) -> Finding:
    return _vmap_is_slower(study, claimed=True)


def vmap_is_efficient(study: Study) -> Finding:
    return _vmap_is_slower(study, claimed=False)


def _vmap_is_slower(study: Study, claimed: bool) -> Finding:
    found = _ways(study, "vmap", "manual")
    if not found:
        return untested("the same cells with manual batching and with vmap")
    most = alike(study, found)
    slower = found.above(most)
    figure = f"vmap's time over manual's: {found.words()} (up to {most:.2f} counts as the same)."
    holds = None if slower is None else slower == claimed
    return judged_if(holds, figure, found.keys)


def loop_costs_b(study: Study) -> Finding:
    found = growth(
        study, study.ok["algo"].unique(), TIME, "batch_size", batching="single", device="cpu"
    )
    if not found:
        return untested("one sample at a time on a CPU at three batch sizes")
    cells = study.cells[study.cells["batching"].eq("single") & study.cells["device"].eq("cpu")]
    one = ratio(
        cells.assign(per_sample=cells[TIME] / cells["batch_size"].astype(float)),
        of_largest_batch(cells) & cells["batch_size"].gt(1),
        cells["batch_size"].eq(1),
        "per_sample",
        ["batch_size"],
    )
    each = (
        f" The time of each sample in a batch of {largest_batch(cells, one)} over that of one "
        f"alone: {one.words()}; {1 / ABOUT:.2f} to {ABOUT:g} counts as the same."
        if one
        else ""
    )
    # A fixed cost of the step can spoil the factor B where the growth with B is still linear.
    return judged_if(
        all_of([found.is_about(1.0), *([one.is_about_one()] if one else [])]),
        f"The time has {found.words('B', 1.0)}; 1 is claimed.{each}",
        [*found.keys, *(one.keys if one else ())],
    )


def batching_pays(study: Study) -> Finding:
    cells = study.cells
    large = cells[cells["batch_size"].ge(16)] if len(cells) else cells
    found = (
        None
        if large.empty
        else ratio(
            large,
            large["batching"].eq("single"),
            large["batching"].eq("manual"),
            TIME,
            ["batching"],
        )
    )
    if not found:
        return untested("batches of 16 or more, one sample at a time and batched")
    figure = (
        f"One at a time over batched, in batches of 16 or more: {found.words()} "
        f"(up to {ABOUT:g} is not much)."
    )
    return judged_if(found.above(ABOUT), figure, found.keys)


def free_on_gpu(study: Study) -> Finding:
    cells = study.cells
    gpu = (
        cells[cells["device"].eq("gpu") & cells["batching"].isin(["manual", "vmap"])]
        if len(cells)
        else cells
    )
    one, many = gpu[gpu["batch_size"].eq(1)], gpu[gpu["batch_size"].ge(64)]
    if one.empty or many.empty:
        return untested("a GPU, with batches of 1 and of 64 or more")
    large = of_largest_batch(gpu) & gpu["batch_size"].ge(64)
    found = ratio(gpu, large, gpu["batch_size"].eq(1), TIME, ["batch_size"])
    if not found:
        return untested("the same cell on a GPU with batches of 1 and of 64 or more")
    dearer = found.above(ABOUT)
    return judged_if(
        None if dearer is None else not dearer,
        f"The time of a batch of {largest_batch(gpu, found)} over that of one sample: "
        f"{found.words()} (up to {ABOUT:g} counts as about the same).",
        found.keys,
    )


def es_is_cheaper(study: Study) -> Finding:
    cells = study.cells
    if len(cells):
        # One at a time, a call's memory is one sample's whatever the batch is.
        cells = cells[cells["n_hidden"].ge(100) & cells["batching"].ne("single")]
        cells = apart_from_algorithm(study, cells)
    time, memory, traces = (_es_over_d_rtrl(cells, m) for m in (TIME, study.memory, "etrace_mib"))
    if not (time or memory):
        return untested("D-RTRL and ES-D-RTRL on the same network of 100 neurons or more, batched")
    told = [
        f"ES-D-RTRL's {words} over D-RTRL's: {found.words()}"
        for words, found in (("time", time), (describe(study.memory).title, memory))
        if found
    ]
    # Traces are counted by shape; a window that covers the sequence makes none, so they say little
    # of what is allocated.
    aside = f" (Traces by shape, made or not: {traces.words()}.)" if traces else ""
    return judged_if(
        all_of(
            [
                time.below(alike(study, time)) if time else None,
                memory.below(SAME_MEMORY) if memory else None,
            ]
        ),
        "; ".join(told) + "." + aside,
        [k for found in (time, memory) if found for k in found.keys],
    )


def _es_over_d_rtrl(cells: pd.DataFrame, metric: str) -> Ratio | None:
    if cells.empty:
        return None
    es, d_rtrl = (cells["algo"].eq(algo) for algo in ("es_d_rtrl", "d_rtrl"))
    return ratio(cells, es, d_rtrl, metric, ["algo"])


def under_100_neurons(study: Study) -> Finding:
    tried = study.table[study.table["algo"].eq("d_rtrl") & study.table["n_hidden"].ge(100)]
    # One at a time, the traces are one sample's whatever the batch is.
    tried = tried[tried["batching"].ne("single")]
    ran = tried[tried["status"].eq("ok")]
    if tried.empty:
        return untested("D-RTRL with 100 neurons or more, batched")
    if ran.empty:
        return judged(
            True, f"None of {len(tried)} cells with 100 neurons or more ran.", tried["key"]
        )
    by_time = ran.sort_values(TIME)
    widest = by_time.sort_values(["n_hidden", "batch_size"], ascending=False, kind="stable").iloc[0]
    failed = tried[tried["status"].isin(["oom", "timeout"])]
    return judged(
        False,
        f"It ran with {widest['n_hidden']} neurons at a batch of "
        f"{widest['batch_size']}: {short(widest[study.memory])} MiB of "
        f"{describe(study.memory).title}, traces by shape of {short(widest['etrace_mib'])} MiB, "
        f"{short(widest[TIME])} ms a training step"
        + (
            f"; {len(failed)} of {len(tried)} cells with 100 or more ran out of memory or time"
            if len(failed)
            else ""
        )
        + ".",
        [*ran["key"], *failed["key"]],
    )


def es_scales(study: Study) -> Finding:
    tried = study.table[study.table["algo"].eq("es_d_rtrl") & study.table["n_hidden"].ge(1000)]
    if tried.empty:
        return untested("ES-D-RTRL with 1000 neurons or more")
    ran = tried[tried["status"].eq("ok")]
    return judged(
        len(ran) > 0,
        f"{len(ran)} of {len(tried)} cells with 1000 neurons or more ran"
        + (f", up to {ran['n_hidden'].max()}" if len(ran) else "")
        + ".",
        tried["key"],
    )


def compiles_once(study: Study) -> Finding:
    columns = ["trace_s", "lower_s", "compile_s", "first_call_s"]
    cells = study.cells.dropna(subset=[*columns, TIME]) if len(study.cells) else pd.DataFrame()
    if cells.empty:
        return untested("cells whose tracing and compilation were timed")
    steps = (cells[columns].sum(axis=1) * 1e3 / cells[TIME]).to_numpy(dtype=float)
    return judged(
        bool(np.median(steps) > 2),
        f"Tracing, compiling and the first call take as long as "
        f"{times(float(np.median(steps)))[:-1]} "
        f"training steps (median; {short(float(steps.min()))} to {short(float(steps.max()))}).",
        keys_of(cells),
    )


CLAIMS = [
    Claim(
        "manual-faster", BATCHING, "Manual batching performs better than vmap.", manual_is_faster
    ),
    Claim(
        "vmap-efficient",
        STRATEGIES,
        "vmap over a single-sample model reaches efficient batch parallelism: nothing is lost "
        "against "
        "a batch written by hand.",
        vmap_is_efficient,
    ),
    Claim(
        "loop-costs-b",
        BATCHING,
        "On a CPU, one sample after another costs B times one sample.",
        loop_costs_b,
    ),
    Claim(
        "batching-pays",
        BATCHING,
        "Batching is much faster than one sample after another.",
        batching_pays,
    ),
    Claim(
        "free-on-gpu", BATCHING, "On a GPU a batch takes about as long as one sample.", free_on_gpu
    ),
    Claim(
        "es-cheaper",
        SNN,
        "For larger networks ES-D-RTRL is the cheaper of the two, in memory and in time.",
        es_is_cheaper,
    ),
    Claim(
        "under-100",
        SNN,
        "Memory limits D-RTRL to networks of fewer than 100 neurons.",
        under_100_neurons,
    ),
    Claim("es-scales", SNN, "ES-D-RTRL scales to hundreds and thousands of neurons.", es_scales),
    Claim(
        "compiles-once",
        SNN,
        "The first epoch is slower than the others, because of compilation.",
        compiles_once,
    ),
]

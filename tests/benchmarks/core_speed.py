"""One table: the core against BPTT, against braintrace and against the machine's own floor.

    python -m tests.benchmarks.core_speed [--pairs 7] [--case LIF] [--out FILE]

Every figure is a ratio of times taken in turn in one process, the median over the rounds with its
smallest and largest. "floor" is the time of the operation's two products, forward and for dW, as
one large product each, measured in the same rounds; with an update at every step also that of
reading the traces once a step, as the sum of an array of their size. Where the trace is carried it
is for windows of 25 (T = 200 and 50) or 32 steps (T = 64). A GRU has one more row of ES-D-RTRL,
without the gradients that braintrace leaves at zero, so that equal work is compared. The streams
are a GRU 50 -> 128 with a batch of one, an update at every step, and Adam: in one compiled loop,
and called from Python.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import brainstate
import braintools
import jax
import jax.numpy as jnp
import numpy as np

import core
from tests.benchmarks.networks import (
    CASES,
    Case,
    GRUNet,
    PartlyTrainedGRUNet,
    braintrace,
    loss,
    ours,
)

ALGORITHMS: dict[str, Callable[[Any, Case], Any]] = {
    "BPTT": lambda m, case: core.BPTT(m),
    "D-RTRL, one window": lambda m, case: core.D_RTRL(m, window="sequence"),
    "D-RTRL, trace carried": lambda m, case: core.D_RTRL(m, window=case.window),
    "D-RTRL, every step": lambda m, case: core.D_RTRL(m, window=1),
    "D-RTRL, every step, float16 trace": lambda m, case: core.D_RTRL(
        m, window=1, trace_dtype="float16"
    ),
    "ES-D-RTRL": lambda m, case: core.ES_D_RTRL(m, 0.9),
    "ES-D-RTRL, step by step": lambda m, case: core.ES_D_RTRL(m, 0.9, window=1),
}

EQUAL_WORK = "ES-D-RTRL, braintrace's gradients alone"

HEAD = (
    "| case | algorithm | ms/step | BPTT / it | braintrace / it | vmap / manual | floor / it |"
    " first call s |"
)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="rounds of all contenders in turn")
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    lines = [HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
    for name, case in CASES.items():
        if options.case in name:
            lines += rows(name, case, options.pairs)
    lines += streaming()
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


def rows(name: str, case: Case, pairs: int) -> list[str]:
    """The lines of the table for one case."""
    xs, labels = case.data()
    few, _ = case.data(case.peer_steps)
    runs: dict[str, tuple[Callable[[], Any], int]] = {}
    for algorithm, make in ALGORITHMS.items():
        for batching in ("manual", "vmap"):
            f = ours(case, partial(make, case=case), batching)
            runs[f"{algorithm}/{batching}"] = (lambda f=f: f(xs, labels), case.n_steps)
    for algorithm, inputs in (("d_rtrl", few), ("es_d_rtrl", xs)):
        for batching in ("manual", "vmap"):
            f = braintrace(case, algorithm, batching)
            runs[f"{algorithm}/{batching}"] = (lambda f=f, i=inputs: f(i, labels), len(inputs))
    for batching in ("manual", "vmap") if "GRU" in name else ():
        partly = replace(case, network=PartlyTrainedGRUNet)
        f = ours(partly, partial(ALGORITHMS["ES-D-RTRL"], case=case), batching)
        runs[f"{EQUAL_WORK}/{batching}"] = (lambda f=f: f(xs, labels), case.n_steps)
    x = jnp.ones((case.n_steps * case.batch, case.rows))
    w = jnp.ones((case.rows, case.n_hidden))
    product = jax.jit(jnp.matmul)
    runs["product"] = (lambda: product(x, w), case.n_steps)
    gates = 2 if "GRU" in name else 1  # the update gate and the candidate have traces
    trace = jnp.ones((case.batch, gates * (case.rows + 1), case.n_hidden))
    read = jax.jit(jnp.sum)
    runs["read"] = (lambda: read(trace), 1)

    first = {key: _seconds(run) for key, (run, _) in runs.items()}
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(pairs):
        for key, (run, n_steps) in runs.items():
            times[key].append(_seconds(run) / n_steps * 1e3)

    def ratio(above: list[float], below: list[float]) -> str:
        pairwise = [a / b for a, b in zip(above, below, strict=True)]
        return f"{statistics.median(pairwise):.2f} ({min(pairwise):.2f}..{max(pairwise):.2f})"

    floor = [2 * t for t in times["product"]]
    if "GRU" in name:
        floor = [3 * t for t in floor]  # reset, update and candidate
    lines = []
    for algorithm in (*ALGORITHMS, *([EQUAL_WORK] if "GRU" in name else [])):
        least = floor
        if "every step" in algorithm:
            share = 0.5 if "float16" in algorithm else 1.0
            least = [a + share * b for a, b in zip(floor, times["read"], strict=True)]
        mine = times[f"{algorithm}/manual"]
        theirs = "-"
        if algorithm != "BPTT":
            peer = "es_d_rtrl" if algorithm.startswith("ES") else "d_rtrl"
            best = min((times[f"{peer}/manual"], times[f"{peer}/vmap"]), key=statistics.median)
            theirs = ratio(best, mine)
        lines.append(
            f"| {name} | {algorithm} | {statistics.median(mine):.4f} "
            f"| {ratio(times['BPTT/manual'], mine)} | {theirs} "
            f"| {ratio(times[f'{algorithm}/vmap'], mine)} | {ratio(least, mine)} "
            f"| {first[f'{algorithm}/manual']:.2f} |"
        )
    for peer in ("d_rtrl", "es_d_rtrl"):
        for batching in ("manual", "vmap"):
            key = f"{peer}/{batching}"
            lines.append(
                f"| {name} | braintrace {peer}, {batching} | {statistics.median(times[key]):.4f} "
                f"| - | - | - | - | {first[key]:.2f} |"
            )
    return lines


def streaming(n_steps: int = 2000) -> list[str]:
    """Microseconds a step and steps a second of learning from one sample at a time."""
    model = GRUNet(50, 128, core.nn)
    optimizer = braintools.optim.Adam(1e-3)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))
    draw = np.random.default_rng(0)
    xs = draw.normal(size=(n_steps, 1, 50)).astype(np.float32)
    ys = draw.integers(0, 10, (n_steps, 1))
    algo = core.D_RTRL(model)
    core.initialise(algo, xs[0])

    @brainstate.transform.jit
    def loop(xs: Any, ys: Any) -> Any:
        options = {"update_every": 1, "per_step_targets": True}
        return core.train(algo, loss, xs, ys, optimizer, **options).losses

    _seconds(lambda: loop(xs, ys))
    looped = [_seconds(lambda: loop(xs, ys)) / n_steps for _ in range(7)]
    stream = core.Stream(algo, loss, optimizer)
    stream(xs[0], ys[0])
    called = [_seconds(lambda x=x, y=y: stream(x, y)) for x, y in zip(xs, ys, strict=True)]
    lines = [
        "",
        "| stream, GRU 50->128 B1 | p50 us | p99 us | steps/s at p50 |",
        "|---|---|---|---|",
    ]
    for name, seconds in (("in a loop", looped), ("called from Python", called)):
        p50, p99 = (float(q) for q in np.quantile(seconds, [0.5, 0.99]))
        lines.append(f"| {name} | {1e6 * p50:.0f} | {1e6 * p99:.0f} | {1 / p50:,.0f} |")
    return lines


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

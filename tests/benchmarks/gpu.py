"""What a GPU makes of the core and the harness, in one run of under eight minutes.

    make gpu                        # or: python -m tests.benchmarks.gpu --out runs/gpu
    make gpu DEVICE=cpu             # the same at small sizes, to rehearse

Each section runs in a process of its own with a deadline, and `gpu.json` and `gpu.md` are written
again after each, so that a section that fails or hangs costs itself alone. Times are medians of
runs that take turns; memory is XLA's account of the compiled program.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
Rows = list[dict[str, Any]]


def main() -> None:
    """Parse the command line; run all sections, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--only", nargs="*", default=list(SECTIONS), choices=list(SECTIONS))
    parser.add_argument("--budget", type=float, default=470.0, help="seconds for all sections")
    parser.add_argument("--section", choices=list(SECTIONS), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.section:
        rows = SECTIONS[options.section].run(options.device == "cpu", options.seconds)
        (options.out / f"{options.section}.json").write_text(json.dumps(rows), encoding="utf-8")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + options.budget
    found: dict[str, Any] = {}
    for name in options.only:
        found[name] = _in_a_process(name, options.device, options.out, end - time.monotonic())
        whole = {"device": options.device, "sections": found}
        (options.out / "gpu.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
        (options.out / "gpu.md").write_text(_markdown(found), encoding="utf-8")
    print(_markdown(found))
    if any("failed" in row for section in found.values() for row in section["rows"]):
        sys.exit(1)


def _in_a_process(name: str, device: str, out: Path, left: float) -> dict[str, Any]:
    """The rows of a section; where it gave none, a row that says why."""
    file = out / f"{name}.json"
    file.unlink(missing_ok=True)
    limit = min(SECTIONS[name].deadline_s, left)
    began = time.monotonic()
    if limit < 10:
        return {"seconds": 0.0, "rows": [{"failed": "no time was left"}]}
    platform = {"gpu": "cuda,cpu", "cpu": "cpu"}[device]
    own = {"JAX_PLATFORMS": platform, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--section", name]
    command += ["--seconds", str(limit - 8)]
    why = ""
    with (out / f"{name}.log").open("w", encoding="utf-8") as log:
        try:
            subprocess.run(
                [*command, "--device", device, "--out", str(out)],
                cwd=ROOT,
                env={**os.environ, **own},
                timeout=limit,
                stdout=log,
                stderr=log,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            why = f"exit status {error.returncode}; see {name}.log"
        except subprocess.TimeoutExpired:
            why = f"took longer than {limit:.0f} s"
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    rows += [{"failed": why}] if why else []
    return {"seconds": round(time.monotonic() - began, 1), "rows": rows}


# -- sections: rows of numbers and words; `small` rehearses on a CPU, `seconds` are left for it


def environment(small: bool, seconds: float) -> Rows:
    """The card and the versions."""
    import jax

    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        card = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        card = "none"
    from importlib import metadata

    packages = ("jax", "jaxlib", "brainstate", "brainunit", "braintrace", "numpy")
    versions = {p: metadata.version(p) for p in packages}
    known = jax.devices()[0]
    return [
        {
            "device": known.device_kind,
            "card, driver, memory": card,
            "python": sys.version.split()[0],
            **versions,
            "default matmul precision": str(jax.config.jax_default_matmul_precision),
        }
    ]


def launch(small: bool, seconds: float) -> Rows:
    """What one iteration of a loop costs when there is nothing to compute in it."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    rows = []
    for name, operations in (("x + 1", 1), ("four products 16 x 16", 4)):
        n_steps = 200 if small else 2000

        def body(x: Any, _: Any, operations: int = operations) -> tuple[Any, None]:
            if operations == 1:
                return x + 1, None
            for _ in range(operations):
                x = jnp.tanh(x @ x)
            return x, None

        run = jax.jit(lambda x, body=body, n=n_steps: lax.scan(body, x, None, length=n)[0])
        x = jnp.eye(16) * 0.5
        seconds = _medians({"loop": lambda run=run, x=x: run(x)}, 7)["loop"]
        rows.append({"body of the loop": name, "us per step": seconds / n_steps * 1e6})
    return rows


def precision(small: bool, seconds: float) -> Rows:
    """Products and a gradient at each precision that XLA offers, beside float64."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import core
    from tests.benchmarks.networks import CASES, ours

    n = 256 if small else 4096
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=(n, n)), jnp.float32) for _ in range(2))
    exact = np.asarray(a[:64], np.float64) @ np.asarray(b, np.float64)
    case = CASES["GRU 50->128 B32 T50"]
    xs, labels = case.data()

    def flat(grads: Any) -> Any:
        return np.concatenate([np.ravel(np.asarray(g, np.float64)) for g in jax.tree.leaves(grads)])

    rows, gradients = [], {}
    for words in ("default", "tensorfloat32", "float32"):
        with jax.default_matmul_precision(words):
            product = jax.jit(jnp.matmul)
            seconds = _medians({"p": lambda p=product: p(a, b)}, 9)["p"]
            off = np.asarray(product(a[:64], b), np.float64) - exact
            gradients[words] = flat(ours(case, core.D_RTRL)(xs, labels))
        rows.append(
            {
                "matmul precision": words,
                f"product {n} x {n} ms": seconds * 1e3,
                "TFLOP/s": 2 * n**3 / seconds / 1e12,
                "error of the product": float(np.linalg.norm(off) / np.linalg.norm(exact)),
            }
        )
    best = gradients["float32"]
    for row in rows:
        off = gradients[row["matmul precision"]] - best
        error = float(np.linalg.norm(off) / np.linalg.norm(best))
        row["gradient (D-RTRL, GRU-128) against float32"] = error
    return rows


def recurrence(small: bool, seconds: float) -> Rows:
    """dh_t = D_t dh_tm1 + u_t: a loop against `jax.lax.associative_scan`."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax import lax

    def loop(d: Any, u: Any) -> Any:
        def tick(h: Any, du: Any) -> tuple[Any, Any]:
            h = du[0] * h + du[1]
            return h, h

        return lax.scan(tick, jnp.zeros_like(u[0]), (d, u))[1]

    def parallel(d: Any, u: Any) -> Any:
        def join(a: Any, b: Any) -> Any:
            return a[0] * b[0], b[0] * a[1] + b[1]

        return lax.associative_scan(join, (d, u))[1]

    shapes = [(20, 4, 16)] if small else [(50, 32, 128), (200, 32, 128), (64, 64, 512)]
    shapes += [] if small else [(1000, 128, 1536)]
    rows = []
    for shape in shapes:
        rng = np.random.default_rng(0)
        d, u = (jnp.asarray(rng.uniform(0, 1, shape), jnp.float32) for _ in range(2))
        runs = {"loop": jax.jit(loop), "parallel": jax.jit(parallel)}
        apart = jnp.linalg.norm(runs["loop"](d, u) - runs["parallel"](d, u))
        seconds = _medians({k: partial(f, d, u) for k, f in runs.items()}, 9)
        rows.append(
            {
                "steps x batch x neurons": " x ".join(map(str, shape)),
                "loop ms": seconds["loop"] * 1e3,
                "associative scan ms": seconds["parallel"] * 1e3,
                "loop / associative scan": seconds["loop"] / seconds["parallel"],
                "relative difference": float(apart / jnp.linalg.norm(runs["loop"](d, u))),
            }
        )
    return rows


def published(small: bool, seconds: float) -> Rows:
    """A spiking network of 32768 inputs and three layers of 512, B = 128, over T."""
    import brainstate
    import brainunit as u
    import jax
    import jax.numpy as jnp

    import core
    from bench.cell.program import Program
    from tests.benchmarks.networks import StackedLIF, loss

    n_in, n_hidden, batch = (512, 32, 8) if small else (32768, 512, 128)
    rows = []
    makers: dict[str, Callable[[Any], Any]] = {
        "BPTT": core.BPTT,
        "D-RTRL, windows of 10": lambda m: core.D_RTRL(m, window=10),
        "ES-D-RTRL, windows of 10": lambda m: core.ES_D_RTRL(m, 0.9, window=10),
    }
    labels = jnp.arange(batch) % 10
    for n_steps in (50, 200) if small else (50, 200, 1000):
        xs = jax.random.bernoulli(jax.random.key(0), 0.01, (n_steps, batch, n_in))
        xs = xs.astype(jnp.float32)
        for name, make in makers.items():
            with brainstate.environ.context(dt=1.0 * u.ms):
                brainstate.random.seed(0)
                model = StackedLIF(n_in, n_hidden)

            def gradient(xs: Any, model: Any = model, make: Any = make) -> Any:
                with brainstate.environ.context(dt=1.0 * u.ms):
                    algo = make(model)
                    core.initialise(algo, xs[0])
                    return core.gradient(algo, loss, xs, labels).grads

            row: dict[str, Any] = {"algorithm": name, "T": n_steps}
            rows.append(row)
            try:
                program = Program(gradient, xs, reads_only=True)
                values = program.values()
                run = partial(program, values, xs)
                seconds = _medians({"step": run}, 3)["step"]
            except Exception as error:  # out of memory is a result here
                row["failed"] = f"{type(error).__name__}: {str(error)[:120]}"
                continue
            row["ms per time step"] = seconds / n_steps * 1e3
            row["temporaries MiB"] = program.memory()["temp"]
            row["input MiB"] = xs.nbytes / MIB
            largest = [float(abs(g).max()) for g in jax.tree.leaves(run()[1])]
            row["smallest of max |gradient|"] = min(largest)
    return rows


def speed(small: bool, seconds: float) -> Rows:
    """The table of `tests.benchmarks.core_speed` for networks of both kinds."""
    from tests.benchmarks.core_speed import HEAD, rows
    from tests.benchmarks.networks import CASES

    names = ["GRU 50->128 B32 T50", "LIF 128+512->512 B64 T64"]
    names = names[:1] if small else names[::-1]
    lines = [line for name in names for line in rows(name, CASES[name], 3 if small else 7)]
    return [dict(zip(_cells(HEAD), _cells(line), strict=True)) for line in lines]


def quick(small: bool, seconds: float) -> Rows:
    """The shipped sweep on this device, each cell in a process of its own."""
    out = Path(os.environ.get("TMPDIR", "/tmp")) / f"etrace-gpu-{os.getpid()}"
    device = "cpu" if small else "gpu"
    command = [sys.executable, "-m", "bench", "-m", "+experiment=quick", f"device={device}"]
    command += ["n_hidden=64", "repeats=1", "report=false", f"out={out}"]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_PLATFORMS"}
    _until(command, seconds, env=environment)
    columns = ("step_time_ms", "memory_xla_mib", "memory_peak_mib", "test_accuracy", "grad_cosine")
    rows = []
    for file in sorted((out / "cells").glob("*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        row = {"algo": record["row"]["algo"], "batching": record["row"]["batching"]}
        row["status"] = " ".join([record["status"], record.get("reason") or ""]).strip()
        rows.append(row | {c: record["metrics"].get(c) for c in columns})
    return sorted(rows, key=lambda row: (row["algo"], row["batching"]))


def tests(small: bool, seconds: float) -> Rows:
    """The tests of the core, on this device, with products in float32 and not in TF32."""
    files = ["tests/core/test_d_rtrl.py"] if small else ["tests/core"]
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", *files]
    command += ["-n", str(max(1, (os.cpu_count() or 1) - 2)), "-W", "ignore::DeprecationWarning"]
    exact = {**os.environ, "JAX_DEFAULT_MATMUL_PRECISION": "float32"}
    printed = _until(command, seconds, stdout=subprocess.PIPE, text=True, env=exact)
    print(printed)
    last = next((x for x in reversed(printed.splitlines()) if " in " in x), "not finished in time")
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    names = re.findall(r"^FAILED (\S+)", printed, flags=re.MULTILINE)
    rows: Rows = [{"tests/core": last.strip("= "), **counts}]
    return rows + [{"failed": name} for name in names]


class Section:
    """A part of the run, with the most seconds that it may take."""

    def __init__(self, run: Callable[[bool, float], Rows], deadline_s: float) -> None:
        self.run, self.deadline_s = run, deadline_s


SECTIONS: Mapping[str, Section] = {
    "environment": Section(environment, 60),
    "launch": Section(launch, 60),
    "recurrence": Section(recurrence, 60),
    "precision": Section(precision, 80),
    "published": Section(published, 150),
    "speed": Section(speed, 150),
    "quick": Section(quick, 170),
    "tests": Section(tests, 300),
}


# -- small tools


def _medians(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taking turns, after one call that compiles."""
    import jax

    for run in runs.values():
        jax.block_until_ready(run())
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(t) for name, t in times.items()}


def _until(command: list[str], seconds: float, **options: Any) -> str:
    """Run a command for at most so long; what it has printed until then."""
    process = subprocess.Popen(command, cwd=ROOT, **options)
    try:
        return process.communicate(timeout=seconds)[0] or ""
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # pytest says what it has found until then
        try:
            return process.communicate(timeout=6)[0] or ""
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[0] or ""


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _markdown(found: Mapping[str, Any]) -> str:
    """One table a section; numbers to four digits."""
    lines: list[str] = []
    for name, section in found.items():
        about = (SECTIONS[name].run.__doc__ or "").strip().splitlines()[0]
        lines += [f"## {name}", "", f"{about} ({section['seconds']} s)", ""]
        columns = list(dict.fromkeys(k for row in section["rows"] for k in row))
        lines += _table(columns, section["rows"]) if columns else ["nothing"]
        lines.append("")
    return "\n".join(lines)


def _table(columns: list[str], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    def word(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)

    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return head + ["| " + " | ".join(word(row.get(c)) for c in columns) + " |" for row in rows]


if __name__ == "__main__":
    main()

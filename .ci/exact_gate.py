"""The exact gate: what a sweep says that no clock has a part in, against a committed baseline.

    python .ci/exact_gate.py check        against the baseline of this kind of machine, if any
    python .ci/exact_gate.py renew        makes that baseline anew; commit it with the reason
    python .ci/exact_gate.py against REF  against another revision, measured here and now

Memory by XLA, bytes of traces, operation counts, numbers of compilations, seeded losses and
gradient fidelity repeat exactly on the same library versions and processor features, so a baseline
is kept for each such pair. Where none matches, `check` says so and passes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyarrow import parquet

ROOT = Path(__file__).resolve().parents[1]
BASELINES = ROOT / ".ci" / "baseline"
RUNS = ROOT / "runs" / "exact-gate"

# What a seeded loss passes through; a peer library that happens to be installed is not among them.
LIBRARIES = {"jax", "jaxlib", "numpy", "brainstate", "braintools", "brainunit", "scikit-learn"}

# The vector instructions that XLA's code for the CPU is chosen by: they decide the rounding.
FEATURES = {
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "asimd",
    "sve",
}


def main(arguments: list[str]) -> int:
    """Exit status: 0 nothing changed or nothing to compare with, 1 something did, 2 bad input."""
    match arguments:
        case ["check"]:
            return check(sweep(ROOT, RUNS / "head"))
        case ["renew"]:
            return renew(sweep(ROOT, RUNS / "head"))
        case ["against", revision]:
            return against(revision)
    print(__doc__, file=sys.stderr)
    return 2


def sweep(tree: Path, out: Path) -> Path:
    """Runs the gate's sweep with a tree's own code; failing cells are for `compare` to judge."""
    command = [sys.executable, "-m", "bench", "+experiment=gate", f"out='{out}'", "resume=false"]
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run(
        command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, check=False
    )
    if done.returncode == 2 or not (out / "results.parquet").is_file():
        raise SystemExit(
            f"exact gate: the sweep in {tree} gave no results (status {done.returncode})"
        )
    return out


def check(head: Path) -> int:
    """Compares with the committed baseline of this kind of machine."""
    kind = machine_kind(head)
    baseline = BASELINES / key(kind) / "results.parquet"
    if not baseline.is_file():
        print(
            f"exact gate: no baseline for {key(kind)} ({describe(kind)}); nothing was compared. "
            "`make baseline` makes one."
        )
        return 0
    return compare(baseline, head)


def renew(head: Path) -> int:
    """Keeps a sweep as the baseline of this kind of machine."""
    kind = machine_kind(head)
    folder = BASELINES / key(kind)
    folder.mkdir(parents=True, exist_ok=True)
    rows = parquet.read_table(head / "results.parquet")
    # Where it lay on this machine is nobody else's concern.
    kept = [name for name in rows.column_names if name != "cfg.out"]
    parquet.write_table(rows.select(kept), folder / "results.parquet")
    (folder / "machine.json").write_text(json.dumps(kind, indent=1) + "\n", encoding="utf-8")
    print(f"exact gate: {folder.relative_to(ROOT)} is the baseline for {describe(kind)}")
    return 0


def against(revision: str) -> int:
    """Compares with another revision, measured on this machine with this environment."""
    with tempfile.TemporaryDirectory(prefix="exact-gate-") as temporary:
        tree = Path(temporary).resolve() / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        added = subprocess.run([*git, "add", "--detach", str(tree), revision], check=False)
        if added.returncode:
            print(f"exact gate: {revision!r} is no revision of this repository", file=sys.stderr)
            return 2
        try:
            base = sweep(tree, RUNS / "base")
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    return compare(base, sweep(ROOT, RUNS / "head"))


def compare(base: Path, head: Path) -> int:
    """Lets the reports decide; their words for a pull request are kept in ``compare.md``."""
    command = [sys.executable, "-m", "reports", "compare", str(base), str(head)]
    markdown = ["--format", "markdown", "--out", str(RUNS / "compare.md")]
    subprocess.run([*command, *markdown], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def machine_kind(sweep_folder: Path) -> dict[str, Any]:
    """What exact numbers depend on beside the code: library versions and processor features."""
    record = next(iter(sorted((sweep_folder / "cells").glob("*.json"))))
    provenance = json.loads(record.read_text(encoding="utf-8"))["provenance"]
    return {
        "versions": {k: v for k, v in provenance["versions"].items() if k in LIBRARIES},
        "features": sorted(FEATURES & processor_flags()),
        "cores": len(os.sched_getaffinity(0)),
    }


def processor_flags() -> set[str]:
    """The instruction sets that the first processor reports; empty outside Linux."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("flags", "features")):
                return set(line.split(":", 1)[1].split())
    return set()


def key(kind: dict[str, Any]) -> str:
    """A folder name for a kind of machine."""
    return hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()[:12]


def describe(kind: dict[str, Any]) -> str:
    """A kind of machine in words."""
    return (
        f"jax {kind['versions'].get('jax', '?')}, {kind['cores']} cores, "
        f"{' '.join(kind['features']) or 'unknown processor features'}"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

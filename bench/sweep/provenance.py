"""Where a number comes from: code, versions, machine. Read without importing jax."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import subprocess
import sys
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from bench.sweep.cell import Cell, digest
from bench.sweep.git import git
from bench.sweep.inputs import NUMERIC, OF_MACHINE, ROOT, code_hash, data_of, variables
from bench.sweep.interpreters import ask

PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "brainstate",
    "braintools",
    "brainunit",
    "brainpy-state",
    "braintrace",
    "etrace-bench",
    "scikit-learn",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
)

# Names a folder for compiled programs: for who times the steps of one cell in many processes, and
# never its compilation.
CACHE_VARIABLE = "ETRACE_BENCH_COMPILATION_CACHE"


_hash_when_first_asked = cache(code_hash)


def code_of(cell: Cell) -> str:
    """Hash of the code that measures a cell: this project's, or that of its interpreter.

    It is read once, so that all cells of a sweep are filed alike.
    """
    return _hash_when_first_asked(*_sources_of(cell))


def code_changed(cell: Cell) -> bool:
    """Whether the code that measures a cell is another than when it was first asked for."""
    return code_hash(*_sources_of(cell)) != code_of(cell)


def _sources_of(cell: Cell) -> tuple[tuple[str, ...], Path]:
    """Every ``_target_`` of a cell's configuration, and the folder of the code that it runs."""
    nodes = [*vars(cell.config).values(), *cell.config.metric.values()]
    targets = {n["_target_"] for n in nodes if isinstance(n, dict) and "_target_" in n}
    return tuple(sorted(targets)), root_of(cell.config.python)


def root_of(python: str | None) -> Path:
    """Folder of the version of this project that an interpreter runs: its own, if it has one."""
    return ROOT if python is None else ask(python, PACKAGES).root or ROOT


def has(python: str | None, package: str) -> bool:
    """Whether an interpreter has a distribution."""
    if python is None:
        return bool(_version(package))
    return package in ask(python, (package,)).versions


@cache
def software(python: str | None) -> dict[str, Any]:
    """The part of the environment that is the same on every machine of a cluster."""
    if python is None:
        versions = _own_versions()
    else:
        told = ask(python, PACKAGES)
        versions = {"python": told.python, "versions": told.versions}
    return {**versions, **_if_any("variables", variables(NUMERIC))}


def software_of(cell: Cell) -> dict[str, Any]:
    """What a cell's result depends on anywhere, beside its configuration and code."""
    return {**software(cell.config.python), **data_of(cell.config)}


def environment_of(cell: Cell) -> dict[str, Any]:
    """What a cell's result depends on here, beside its configuration and code."""
    return {**environment(cell.config.python, _on_gpu(cell)), **data_of(cell.config)}


def _on_gpu(cell: Cell) -> bool:
    return bool(cell.config.device.platform == "gpu")


def _if_any(name: str, value: Any) -> dict[str, Any]:
    """Only where there is one: records without keep their identity."""
    return {name: value} if value else {}


@cache
def environment(python: str | None, gpu: bool) -> dict[str, Any]:
    """What a cell's result depends on beside its configuration and code.

    Args:
        python: interpreter that runs the cell; None for this one.
        gpu: whether the cell runs on a GPU, whose name and driver then count too.
    """
    return {
        **software(python),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "threads": os.environ.get("NPROC", ""),
        "gpu": gpu_name() if gpu else "",
        **_if_any("machine_variables", variables(OF_MACHINE)),
        **_if_any("compilation_cache", "on" if os.environ.get(CACHE_VARIABLE) else ""),
    }


def describe(cell: Cell) -> dict[str, Any]:
    """The provenance part of a record, as far as the parent process knows it."""
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return {
        **_git(root_of(cell.config.python)),
        "compilation_cache": "off",
        **environment_of(cell),
        "affinity": affinity,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 2),
        "hostname_hash": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12],
        "fingerprint": fingerprint(cell),
        # The same for cells that were given another interpreter side by side with this one's.
        "machine": digest(environment(None, _on_gpu(cell))),
        "code": code_of(cell),
    }


def fingerprint(cell: Cell) -> str:
    """Names the machine and versions that timings may be compared on."""
    return digest(environment(cell.config.python, _on_gpu(cell)))


@cache
def gpu_name() -> str:
    """Name and driver of the first NVIDIA GPU, or an empty string when there is none."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else ""


def missing_device(platform_: str) -> str:
    """Why cells on this platform cannot run here, or an empty string."""
    if platform_ == "cpu":
        return ""
    if not gpu_name():
        return "no NVIDIA GPU answers nvidia-smi on this machine"
    if not any(_version(name) for name in PACKAGES if name.startswith("jax-cuda")):
        return "jax's CUDA plug-in is not installed (pip install 'etrace-bench[cuda]')"
    return ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _own_versions() -> dict[str, Any]:
    found = {name: _version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "versions": {k: v for k, v in found.items() if v}}


@cache
def _processor() -> str:
    if sys.platform.startswith("linux"):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


@cache
def _git(root: Path) -> dict[str, Any]:
    told = partial(git, root, timeout_s=20.0)
    if told("rev-parse", "--show-toplevel") != str(root):
        # Installed somewhere inside of another project's repository.
        return {"commit": None, "dirty": None}
    changed = told("status", "--porcelain", "--", "core", "bench", "conf")
    return {
        "commit": told("rev-parse", "HEAD"),
        "dirty": None if changed is None else bool(changed),
    }

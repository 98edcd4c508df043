"""Where a number comes from: code, versions, machine. Read without importing jax."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from bench.cell import Cell, digest
from bench.signature import source_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("jax", "jaxlib", "numpy", "brainstate", "braintools", "brainunit", "brainpy-state",
            "braintrace", "brainscale", "scikit-learn", "jax-cuda12-plugin", "jax-cuda13-plugin")

# Run by another interpreter, which need not have this project installed.
_ASK = """
import json, platform, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({"python": platform.python_version(), "versions": found}))
"""


@cache
def code_hash(targets: tuple[str, ...] = ()) -> str:
    """Hash of every source file of ``core`` and ``bench`` and of plug-ins outside of them."""
    files = sorted([*(ROOT / "core").rglob("*.py"), *(ROOT / "bench").rglob("*.py")])
    outside = {source_of(target.rpartition(".")[0]) for target in targets}
    files += sorted(path for path in outside if path is not None and path not in files)
    hasher = hashlib.sha256()
    for path in files:
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
        hasher.update(f"{name}\0".encode())
        hasher.update(path.read_bytes())
    return hasher.hexdigest()[:16]


def targets_of(cell: Cell) -> tuple[str, ...]:
    """Every ``_target_`` of a cell's configuration."""
    nodes = [*cell.config.values(), *cell.config["metric"].values()]
    return tuple(sorted({n["_target_"] for n in nodes if isinstance(n, dict) and "_target_" in n}))


def software(python: str | None) -> dict[str, Any]:
    """The part of the environment that is the same on every machine of a cluster."""
    return _own_versions() if python is None else _versions_of(python)


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
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "threads": os.environ.get("NPROC", ""),
        "gpu": gpu_name() if gpu else "",
    }


def describe(cell: Cell) -> dict[str, Any]:
    """The provenance part of a record, as far as the parent process knows it."""
    gpu = cell.config["device"]["platform"] == "gpu"
    environment_ = environment(cell.config["python"], gpu)
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return {
        **_git(),
        **environment_,
        "affinity": affinity,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 2),
        "compilation_cache": "off",
        "hostname_hash": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12],
        "fingerprint": fingerprint(cell),
        "code": code_hash(targets_of(cell)),
    }


def fingerprint(cell: Cell) -> str:
    """Names the machine and versions that timings may be compared on."""
    return digest(environment(cell.config["python"], cell.config["device"]["platform"] == "gpu"))


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
def _versions_of(python: str) -> dict[str, Any]:
    answer = subprocess.run([python, "-c", _ASK, *PACKAGES], capture_output=True, text=True,
                            timeout=60, check=True)
    return dict(json.loads(answer.stdout))


@cache
def _processor() -> str:
    if sys.platform.startswith("linux"):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


@cache
def _git() -> dict[str, Any]:
    def ask(*arguments: str) -> str | None:
        command = ["git", "-C", str(ROOT), *arguments]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip()

    if ask("rev-parse", "--show-toplevel") != str(ROOT):
        # Installed somewhere inside of another project's repository.
        return {"commit": None, "dirty": None}
    changed = ask("status", "--porcelain", "--", "core", "bench", "conf")
    return {"commit": ask("rev-parse", "HEAD"), "dirty": None if changed is None else bool(changed)}

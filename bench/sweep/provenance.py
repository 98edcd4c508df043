"""Where a number comes from: code, versions, machine. Read without importing jax."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import socket
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import psutil

from bench.config import Config
from bench.processes import cores, output_of
from bench.sweep.inputs import NUMERIC, OF_MACHINE, ROOT, code_hash, data_of, digest, variables
from bench.sweep.interpreters import packages

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


def code_of(config: Config) -> str:
    """Hash of the code that measures a cell, read once: all cells of a sweep are filed alike."""
    return _hash_when_first_asked(_targets_of(config))


def code_changed(config: Config) -> bool:
    """Whether the code that measures a cell is another than when it was first asked for."""
    return code_hash(_targets_of(config)) != code_of(config)


def _targets_of(config: Config) -> tuple[str, ...]:
    nodes = [*vars(config).values(), *config.metric.values()]
    return tuple(sorted({n["_target_"] for n in nodes if isinstance(n, dict) and "_target_" in n}))


def fingerprint(config: Config) -> str:
    """Names the machine and versions that timings may be compared on."""
    return digest(environment(config.python, config.device.platform))


def environment_of(config: Config) -> dict[str, Any]:
    """What a cell's result depends on beside its configuration and code."""
    return {**environment(config.python, config.device.platform), **data_of(config)}


@cache
def software(python: str | None) -> dict[str, Any]:
    """The part of the environment that is the same on every machine of a cluster."""
    return {**packages(python, PACKAGES), **_if_any("variables", variables(NUMERIC))}


def _if_any(name: str, value: Any) -> dict[str, Any]:
    """Only where there is one: records without keep their identity."""
    return {name: value} if value else {}


@cache
def environment(python: str | None, platform_: str) -> dict[str, Any]:
    """The part of the environment that all cells of an interpreter and a device share."""
    return {
        **software(python),
        "processor": _processor(),
        "cores": len(cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "threads": os.environ.get("NPROC", ""),
        "gpu": gpu_name() if platform_ == "gpu" else "",
        **_if_any("machine_variables", variables(OF_MACHINE)),
        **_if_any("compilation_cache", "on" if os.environ.get(CACHE_VARIABLE) else ""),
    }


def describe(config: Config) -> dict[str, Any]:
    """The provenance part of a record, as far as the parent process knows it."""
    return {
        **_commit(),
        "compilation_cache": "off",
        **environment_of(config),
        "affinity": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 2),
        "hostname_hash": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12],
        "fingerprint": fingerprint(config),
        # The same for cells that were given another interpreter side by side with this one's.
        "machine": digest(environment(None, config.device.platform)),
        "code": code_of(config),
    }


@cache
def gpu_name() -> str:
    """Name and driver of the first NVIDIA GPU, or an empty string when there is none."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    said = output_of(query, timeout_s=20.0)
    return said.splitlines()[0] if said else ""


def missing_device(platform_: str) -> str:
    """Why cells on this platform cannot run here, or an empty string."""
    if platform_ == "cpu":
        return ""
    if not gpu_name():
        return "no NVIDIA GPU answers nvidia-smi on this machine"
    if not any(name.startswith("jax-cuda") for name in packages(None, PACKAGES)["versions"]):
        return "jax's CUDA plug-in is not installed (pip install 'etrace-bench[cuda]')"
    return ""


@cache
def _processor() -> str:
    if sys.platform.startswith("linux"):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


@cache
def _commit() -> dict[str, Any]:
    told = partial(git, ROOT, timeout_s=20.0)
    if told("rev-parse", "--show-toplevel") != str(ROOT):
        # Installed somewhere inside of another project's repository.
        return {"commit": None, "dirty": None}
    changed = told("status", "--porcelain", "--", "core", "bench", "conf")
    return {
        "commit": told("rev-parse", "HEAD"),
        "dirty": None if changed is None else bool(changed),
    }


def git(folder: Path, *arguments: str, timeout_s: float | None = None) -> str | None:
    """Output of a git command, or None when it failed or there is no git.

    Variables such as ``GIT_DIR``, which hooks and scripts set, would name another repository. One
    that belongs to somebody else is read as well: its code runs here anyway.
    """
    env = {k: v for k, v in os.environ.items() if not re.match("GIT_(?!CONFIG_)", k)}
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    return output_of(command, timeout_s, env)

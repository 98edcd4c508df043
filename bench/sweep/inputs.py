"""What a cell's numbers depend on beside its configuration: code, data files, variables."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from bench.config import Config
from bench.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
OURS = ("core", "bench", "reports", "conf")

# Beginnings of the names of variables that may change a number. All of a family count, those of
# tomorrow too, except what is left out below.
NUMERIC = re.compile("JAX_|XLA_|TF_|NVIDIA_TF32_|CUBLAS_|CUDNN_")
# Those of threads and memory belong to the machine: a launcher's job may have others.
OF_MACHINE = re.compile(
    "(OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|ONEDNN|DNNL|NCCL|CUDA|MALLOC)_|GLIBC_TUNABLES|LD_PRELOAD"
)
LEFT_OUT = re.compile(
    # Set for each cell by the harness, from its configuration.
    "JAX_PLATFORMS|JAX_(ENABLE_)?COMPILATION_CACHE|JAX_PERSISTENT_CACHE_"
    "|XLA_PYTHON_CLIENT_PREALLOCATE"
    # Recorded under a name of its own.
    "|XLA_FLAGS"
    # Which of the GPUs: launchers choose one for each job, and its name is recorded.
    "|CUDA_VISIBLE_DEVICES"
    # Set by scikit-learn where it is imported; two runtimes that may be loaded move no number.
    "|KMP_DUPLICATE_LIB_OK|KMP_INIT_AT_FORK"
    # What is said about a program, not what it computes.
    "|JAX_LOG|JAX_DEBUG_LOG_MODULES|JAX_TRACEBACK_|JAX_INCLUDE_FULL_TRACEBACKS"
    "|JAX_EXPLAIN_CACHE_MISSES|JAX_DUMP_IR_|TF_CPP_"
    # Of Terraform, which may be secrets: a record holds the values of the others.
    "|TF_(CLI|DATA|IGNORE|IN|LOG|PLUGIN|REGISTRY|REATTACH|SKIP|STATE|TOKEN|VAR|WORKSPACE)_?"
)
# A setting whose name ends in one of these names data on disk.
OF_DATA = ("path", "file", "folder", "dir")


def digest(value: Any) -> str:
    """16 hexadecimal digits that stand for a JSON-like value."""
    named = json.loads(json.dumps(value, default=str))  # by text: numbers and text have no order
    text = json.dumps(named, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def variables(families: re.Pattern[str]) -> dict[str, str]:
    """Variables of the environment of these families that may change a number."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if families.match(name) and not LEFT_OUT.match(name)
    }


def code_hash(targets: tuple[str, ...], root: Path = ROOT) -> str:
    """Hash of every source file of ``core`` and ``bench`` in ``root`` and of plug-ins outside."""
    files = [
        (str(path.relative_to(root)), path)
        for package in ("core", "bench")
        for path in (root / package).rglob("*.py")
    ]
    files += [(path.name, path) for target in targets for path in sources(target)]
    hashes = set()
    for name, path in files:
        # What is no readable file cannot be imported: an editor's broken link, a folder, a pipe.
        with contextlib.suppress(OSError):
            if path.is_file():
                hashes.add((name, hashlib.sha256(path.read_bytes()).hexdigest()))
    return digest(sorted(hashes))


def sources(target: str) -> set[Path]:
    """The files of a plug-in: its module and what that imports, as far as it is nobody else's.

    Found in the text of the files. What is installed has a version; of an installed plug-in only
    its own package counts. What a string names at run time is not seen.
    """
    home = target.partition(".")[0]
    found: set[Path] = set()
    seen = set[str]()
    queue = [target]
    while queue:
        name = queue.pop()
        package, _, _ = name.rpartition(".")
        if name in seen or name.partition(".")[0] in OURS:
            continue
        seen.add(name)
        queue += [package] if package else []  # importing a.b runs a as well
        path = _source_of(name)
        mine = path is not None and (name.partition(".")[0] == home or not _installed(path))
        if path is not None and mine and path.suffix == ".py":
            found.add(path)
            queue += _imports_of(path, name)
    return found


def _source_of(module: str) -> Path | None:
    """The file of ``module``, found without importing any package on the way."""
    head, *rest = module.split(".")
    spec = None
    with contextlib.suppress(ValueError):  # a module that is running, such as __main__
        # Of a top-level name this runs no code; of a dotted one it would import the parents.
        spec = importlib.util.find_spec(head)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(part, spec.submodule_search_locations)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _imports_of(path: Path, module: str) -> Iterator[str]:
    """Names of what the file of a module imports anywhere in it, modules or what may be one."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def _installed(path: Path) -> bool:
    library = path.is_relative_to(sysconfig.get_path("stdlib"))
    return library or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


def data_of(config: Config) -> dict[str, str]:
    """``{"data": hash}`` of names, sizes and bytes behind a task's and a model's paths, if any.

    Reading takes about a second a gigabyte, once a command; a BadInput where it fails.
    """
    named = {
        key: _files_hash(Path(value))
        for node in (config.task, config.model)
        for key, value in node.items()
        if isinstance(value, str) and key.rpartition("_")[2] in OF_DATA
    }
    found = {key: value for key, value in named.items() if value}
    return {"data": digest(found)} if found else {}


@cache
def _files_hash(path: Path) -> str:
    """Hash of a file, or of all files in a folder; empty when there is nothing."""
    hasher = hashlib.sha256()
    try:
        inside = (file for file in path.rglob("*") if not file.name.startswith("."))
        files = [file for file in (path, *sorted(inside)) if file.is_file()]
        for file in files:
            name = f"{file.relative_to(path)}\0{file.stat().st_size}\0"
            hasher.update(name.encode(errors="surrogateescape"))
            with file.open("rb") as opened:
                hasher.update(hashlib.file_digest(opened, "sha256").digest())
    except OSError as error:
        raise BadInput("task", "data that can be read", str(path), f"{error}.") from error
    return hasher.hexdigest() if files else ""

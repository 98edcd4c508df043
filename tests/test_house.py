"""The rules of the house: who may import whom, how long a file may be, what no file may name.

Every rule is a pure function from a tree of files to how much it looked at and what it found. Each
is run twice: on this repository, where it must look at something and find nothing, and on a small
planted violation, which it must find.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "bench", "reports", "conf")

MAX_LINES = 400
LONG_FILE_REASON = "Longer than 400 lines because"

# What the files of one package may never import, at any depth.
FORBIDDEN_IMPORTS = {
    "core": {"bench", "reports", "hydra", "omegaconf", "pandas"},
    "bench": {"reports"},
    "reports": {"core", "bench", "jax", "brainstate", "braintools", "brainunit"},
}

# The rooms of core, each of which imports itself and those before it; then loose files.
CORE_ROOMS = (
    "errors",
    "data",
    "environment",
    "nn",
    "equations",
    "lowering",
    "analysis",
    "execution",
    "traces",
    "algorithms",
    "drivers",
    "braintrace",
)

# Folders whose files are plug-ins, and the modules there that plug-ins may share.
PLUGIN_FOLDERS = {
    # d_rtrl: several rules are its trace with another derivative in it.
    "core/algorithms": {"base", "compiled", "windowed", "d_rtrl", "ottt"},
    "core/lowering": {"lowered"},
    "bench/models": {"base"},
    "bench/tasks": {"base", "events"},
    "bench/backends": {"base"},
    "bench/launchers": {"base"},
    "bench/metrics": {"base"},
    "reports/plots": {"base", "style"},
}

# Who runs a folder of bench. The process that a person starts answers quickly and never holds a JAX
# backend: nothing that is loaded as its modules are imported may load one, at whatever distance.
PARENT = ("bench/__main__.py", "bench/command", "bench/sweep", "bench/launchers", "bench/duel")
# The constructors of metrics are asked by that process what they take.
LOADED_BY_PARENT = (*PARENT, "bench/metrics", "core/__init__.py", "core/errors.py")
# What the modules of a process may not import anywhere, functions included. A cell's process takes
# from the sweep what a record may hold, and nothing else.
OF_OTHER_PROCESSES = {
    "bench/command": {"bench.cell"},
    "bench/sweep": {"bench.cell", "bench.check", "bench.command", "bench.duel"},
    "bench/launchers": {"bench.cell", "bench.check", "bench.command", "bench.duel"},
    "bench/cell": {"bench.sweep", "bench.command", "bench.check", "bench.duel", "bench.launchers"},
    "bench/metrics": {"bench.sweep", "bench.command", "bench.check", "bench.duel"},
    "bench/models": {"bench.sweep", "bench.command"},
    "bench/tasks": {"bench.sweep", "bench.command"},
    "bench/backends": {"bench.sweep", "bench.command"},
}
ERRORS = "core.errors."  # of which the errors of bench come; without jax
SHARED_BY_PROCESSES = ("bench.sweep.record.", ERRORS)
JAX_STACK = {"jax", "jaxlib", "brainstate", "braintools", "brainunit", "brainpy", "core"}

# Private modules of libraries, and the one file that may import a name from there.
PRIVATE = re.compile(r"(?:hydra|jax|brainstate|brainunit|braintools|omegaconf)\._")
PRIVATE_IN = {"brainstate._state.TRACE_CONTEXT": "core/analysis/beginning.py"}

MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:work|root|home|Users|tmp)/\w")
ADDRESS = re.compile(r"https?://|file://|git\+|@\s*\w+://|--(?:extra-)?index-url|--find-links")


class Import(NamedTuple):
    """One imported name, absolute and dotted."""

    name: str
    line: int
    at_module_level: bool


def python_files(root: Path, *folders: str) -> list[Path]:
    """All Python files below the given folders of `root`, sorted."""
    return sorted(file for folder in folders for file in (root / folder).rglob("*.py"))


def module_parts(root: Path, file: Path) -> tuple[str, ...]:
    """The dotted name of a file as a tuple; a package is named by its folder."""
    parts = file.relative_to(root).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports_of(root: Path, file: Path) -> tuple[Import, ...]:
    """Every import in a file, relative ones resolved, `from a import b` reported as `a.b`.

    Imports under `if TYPE_CHECKING:` are left out: they never run.
    """
    own = module_parts(root, file)
    package = own if file.name == "__init__.py" else own[:-1]
    return imports_in(file.read_text(encoding="utf-8"), package)


@functools.cache  # most rules look at the same files
def imports_in(text: str, package: tuple[str, ...]) -> tuple[Import, ...]:
    found = []

    def visit(node: ast.AST, at_module_level: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                for alias in child.names:
                    found.append(Import(alias.name, child.lineno, at_module_level))
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else ()
                prefix = [*base, *((child.module or "").split(".") if child.module else [])]
                for alias in child.names:
                    found.append(
                        Import(".".join([*prefix, alias.name]), child.lineno, at_module_level)
                    )
            elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                visit(child, at_module_level and not inside)

    visit(ast.parse(text), True)
    return tuple(found)


def forbidden_imports(root: Path) -> tuple[int, list[str]]:
    """`bench -> core`, `reports -> files only`, `core` knows neither."""
    looked, found = 0, []
    for package, forbidden in FORBIDDEN_IMPORTS.items():
        for file in python_files(root, package):
            for imported in imports_of(root, file):
                looked += 1
                if imported.name.split(".")[0] in forbidden:
                    found.append(
                        f"{file.relative_to(root)}:{imported.line} imports {imported.name}"
                    )
    return looked, found


def core_order(root: Path) -> tuple[int, list[str]]:
    """Inside core every module is in a room and imports nothing of a later one."""
    looked, found = 0, []
    for file in python_files(root, "core"):
        parts = module_parts(root, file)
        if len(parts) == 1:
            continue
        if parts[1] not in CORE_ROOMS:
            found.append(f"{file.relative_to(root)} is in no room of CORE_ROOMS")
            continue
        known = CORE_ROOMS[: CORE_ROOMS.index(parts[1]) + 1]
        for imported in imports_of(root, file):
            name = imported.name.split(".")
            looked += 1
            # `from core import x` would load everything: it is above all rooms.
            if name[0] == "core" and name[1] not in known:
                found.append(f"{file.relative_to(root)}:{imported.line} imports {imported.name}")
    return looked, found


def plugin_imports(root: Path) -> tuple[int, list[str]]:
    """Plug-ins in one folder never import each other."""
    looked, found = 0, []
    for folder, shared in PLUGIN_FOLDERS.items():
        prefix = folder.replace("/", ".") + "."
        siblings = {f.stem for f in (root / folder).glob("*.py")} - {"__init__"}
        siblings |= {f.parent.name for f in (root / folder).glob("*/__init__.py")}
        for file in python_files(root, folder):
            own = file.relative_to(root / folder).parts[0].removesuffix(".py")
            if own in shared | {"__init__"}:
                continue
            looked += 1
            for imported in imports_of(root, file):
                other = imported.name.removeprefix(prefix).split(".")[0]
                if imported.name.startswith(prefix) and other in siblings - shared - {own}:
                    found.append(
                        f"{file.relative_to(root)}:{imported.line} imports {imported.name}"
                    )
    return looked, found


def parent_without_jax(root: Path) -> tuple[int, list[str]]:
    """The parent of a sweep imports no jax, neither itself nor through another module."""
    looked, found = 0, []
    queue = [
        file
        for place in LOADED_BY_PARENT
        for file in ([root / place] if place.endswith(".py") else python_files(root, place))
    ]
    seen: set[Path] = set()
    while queue:
        file = queue.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        looked += 1
        for imported in imports_of(root, file):
            if not imported.at_module_level:
                continue
            parts = imported.name.split(".")
            shared = f"{imported.name}.".startswith(ERRORS)
            if parts[0] in JAX_STACK and not shared:
                found.append(f"{file.relative_to(root)}:{imported.line} imports {imported.name}")
            if parts[0] == "bench":
                for length in range(1, len(parts) + 1):
                    target = root.joinpath(*parts[:length])
                    queue += [target.with_suffix(".py"), target / "__init__.py"]
    return looked, found


def processes_apart(root: Path) -> tuple[int, list[str]]:
    """Each folder of bench belongs to one process and imports nothing of the others."""
    looked, found = 0, []
    for folder, others in OF_OTHER_PROCESSES.items():
        without_jax = JAX_STACK if folder in PARENT else set()
        for file in python_files(root, folder):
            for imported in imports_of(root, file):
                looked += 1
                name = f"{imported.name}."
                theirs = any(name.startswith(f"{other}.") for other in others)
                shared = any(name.startswith(module) for module in SHARED_BY_PROCESSES)
                if (theirs or name.split(".")[0] in without_jax) and not shared:
                    found.append(
                        f"{file.relative_to(root)}:{imported.line} imports {imported.name}"
                    )
    return looked, found


def private_names(root: Path) -> tuple[int, list[str]]:
    """Libraries are used through their public faces; what has none is imported in one file."""
    looked, found = 0, []
    for file in python_files(root, *PACKAGES, "tests"):
        for imported in imports_of(root, file):
            looked += 1
            place = f"{file.relative_to(root)}"
            if PRIVATE.match(imported.name) and PRIVATE_IN.get(imported.name) != place:
                found.append(f"{place}:{imported.line} imports {imported.name}")
    return looked, found


def long_files(root: Path) -> tuple[int, list[str]]:
    """A file of more than 400 lines states its reason."""
    looked, found = 0, []
    for file in python_files(root, *PACKAGES, "tests"):
        looked += 1
        text = file.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > MAX_LINES and LONG_FILE_REASON not in text:
            found.append(
                f"{file.relative_to(root)} has {lines} lines: split it, or write a comment "
                f"{LONG_FILE_REASON!r} ..."
            )
    return looked, found


def packages_without_init(root: Path) -> tuple[int, list[str]]:
    """Every folder with Python files is a package: otherwise `tests/core` would shadow `core`."""
    folders = {file.parent for file in python_files(root, *PACKAGES)}
    folders |= {f.parent for f in python_files(root, "tests") if f.name.startswith("test_")}
    folders |= {root / package for package in PACKAGES}
    without = [f for f in sorted(folders) if not (f / "__init__.py").is_file()]
    return len(folders), [f"{folder.relative_to(root)} has no __init__.py" for folder in without]


def text_files(root: Path) -> Iterator[Path]:
    """What is kept under version control and read by people or tools, from the folders we own."""
    suffixes = {".py", ".yaml", ".yml", ".toml", ".txt", ".md", ".json", ".cfg", ".sh"}
    for folder in (*PACKAGES, "tests", "docs", "examples", ".github", ".ci"):
        for file in sorted((root / folder).rglob("*")):
            if file.is_file() and (file.suffix in suffixes or file.parent.name == ".ci"):
                yield file
    for file in sorted(root.iterdir()):
        if file.is_file() and (file.suffix in suffixes or file.name == "Makefile"):
            yield file


def machine_paths(root: Path) -> tuple[int, list[str]]:
    """No file names a folder of somebody's machine."""
    looked, found = 0, []
    for file in text_files(root):
        looked += 1
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if MACHINE_PATH.search(line):
                found.append(f"{file.relative_to(root)}:{number} {line.strip()}")
    return looked, found


def addresses(root: Path) -> tuple[int, list[str]]:
    """Pins and package metadata name versions, never a registry."""
    looked, found = 0, []
    for name in ("constraints.txt", "pyproject.toml", "Makefile", ".ci/run"):
        file = root / name
        if not file.is_file():
            continue
        looked += 1
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if ADDRESS.search(line):
                found.append(f"{name}:{number} {line.strip()}")
    return looked, found


PLANTED = [  # what breaks a rule: the rule, a file, its text
    (forbidden_imports, "reports/load.py", "import bench.record\n"),
    (forbidden_imports, "reports/load.py", "from core.errors import Refusal\n"),
    (forbidden_imports, "reports/load.py", "def f():\n    import jax.numpy\n"),
    (forbidden_imports, "bench/command/cli.py", "from reports import load\n"),
    (forbidden_imports, "core/analysis/graph.py", "import pandas as pd\n"),
    (forbidden_imports, "core/execution/step.py", "from bench.sweep.cell import Cell\n"),
    (core_order, "core/execution/step.py", "from ..traces import attach\n"),
    (core_order, "core/helpers.py", "import math\n"),
    (core_order, "core/analysis/graph.py", "from core import D_RTRL\n"),
    (core_order, "core/equations/ops.py", "from core.algorithms import D_RTRL\n"),
    (plugin_imports, "core/algorithms/bptt.py", "from . import rtrl\n"),
    (parent_without_jax, "bench/sweep/launch.py", "if True:\n    import jax\n"),
    (parent_without_jax, "bench/sweep/cell.py", "from core import D_RTRL\n"),
    (parent_without_jax, "core/errors.py", "import jax\n"),
    (processes_apart, "bench/sweep/measure.py", "def f():\n    import jax.numpy\n"),
    (processes_apart, "bench/command/trial.py", "class A:\n  from bench.cell.probe import look\n"),
    (
        processes_apart,
        "bench/cell/worker.py",
        "from bench.sweep import launch\nfrom bench.sweep.record import plain\n",
    ),
    (private_names, "bench/command/compose.py", "from hydra._internal.utils import x\n"),
    (private_names, "core/data.py", "from jax._src import source_info_util\n"),
    (long_files, "reports/html.py", "x = 1\n" * (MAX_LINES + 1)),
    (packages_without_init, "bench/tasks/digits.py", "x = 1\n"),
    (packages_without_init, "tests/core/test_step.py", "x = 1\n"),
    (machine_paths, "docs/method.md", "see /" + "home/me/runs\n"),
    (addresses, "constraints.txt", "jax @ https" + "://example.org/jax.whl\n"),
]


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, *_ in PLANTED))
def test_repository_keeps_the_rule(rule: Callable[[Path], tuple[int, list[str]]]) -> None:
    looked, found = rule(ROOT)
    assert looked > 0, "looked at nothing"
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "name", "text"), PLANTED)
def test_rule_finds_a_planted_violation(
    rule: Callable[[Path], tuple[int, list[str]]], name: str, text: str, tmp_path: Path
) -> None:
    for package in (*PACKAGES, "core/algorithms"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "core" / "algorithms" / "rtrl.py").touch()
    assert rule(tmp_path)[1] == []
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = rule(tmp_path)[1]
    assert len(found) == 1
    place = Path(name).parent.as_posix() if rule is packages_without_init else name
    assert found[0].startswith(place)


def test_a_stated_reason_allows_a_long_file(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    text = f"# {LONG_FILE_REASON} the table is one table.\n" + "x = 1\n" * MAX_LINES
    (tmp_path / "core" / "table.py").write_text(text, encoding="utf-8")
    assert long_files(tmp_path) == (1, [])

"""One class catches every error that core and bench raise on purpose, one those of reports, which
import neither; the sentence has one form."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
from pathlib import Path

import pytest

import core
from bench.errors import BadInput
from core.errors import Refusal
from reports.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
FILES = [file for room in ("core", "bench", "reports") for file in (ROOT / room).rglob("*.py")]
BUILTIN = {
    name for name, found in vars(builtins).items()
    if inspect.isclass(found) and issubclass(found, Exception)
}  # fmt: skip


@functools.cache
def nodes() -> list[tuple[Path, ast.AST]]:
    """All of the source, which is read once."""
    return [
        (file, node)
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    ]


def descendants(roots: set[str]) -> set[str]:
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for _, node in nodes()
        if isinstance(node, ast.ClassDef)
    }
    found: set[str] = set()
    while more := {name for name, of in bases.items() if of & (roots | found)} - found:
        found |= more
    return found


def test_every_exception_class_has_the_base_of_its_room() -> None:
    found = descendants(BUILTIN)
    assert {"CoreError", "BadInput", "InputError", "Skip", "Corrupt", "NotDrawn"} <= found
    of_reports = descendants({"ReportError"})
    assert found - descendants({"EtraceError"}) - of_reports == {"EtraceError", "ReportError"}
    assert {"InputError", "NotDrawn", "Unusable"} <= of_reports
    assert not of_reports & descendants({"EtraceError"})


def test_no_builtin_error_is_raised_with_the_sentence_of_a_refusal() -> None:
    """Nor is the sentence ever written with a comma; only what no `core` can be imported for."""
    raised = [
        file.relative_to(ROOT).as_posix()
        for file, node in nodes()
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and ast.unparse(node.exc.func) in BUILTIN
        and "expected " in ast.unparse(node.exc)
    ]
    assert raised == ["bench/__init__.py"]
    with_a_comma = [
        f"{file.name}:{node.lineno}"
        for file, node in nodes()
        if isinstance(node, ast.Constant) and ", got " in str(node.value)
    ]
    assert with_a_comma == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Refusal("a", "b"), "expected a; got b."),
        (Refusal("a", "", what="x"), "x: expected a; got nothing."),
        (BadInput("x", "a", 3, "Do c."), "x: expected a; got 3. Do c."),
        (InputError("a", "b", "Do c."), "expected a; got b. Do c."),
        (core.InvalidArgument("a", "b", "Do c."), "expected a; got b. Do c."),
    ],
)
def test_the_sentence(error: Refusal, text: str) -> None:
    assert isinstance(error, ValueError)
    assert str(error) == text
    assert (error.expected, error.do) == ("a", "Do c." if "Do" in text else "")


def test_all_public_names_are_found_lazily() -> None:
    stub = ast.parse((ROOT / "core" / "__init__.pyi").read_text(encoding="utf-8"))
    listed = [
        one.name for node in stub.body if isinstance(node, ast.ImportFrom) for one in node.names
    ]
    assert sorted(listed) == core.__all__ == dir(core)
    assert all(getattr(core, name).__name__.rpartition(".")[2] for name in listed)

"""Signatures read from source: names, types, inheritance, and no import of the target."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.sweep import signature
from bench.sweep.provenance import ROOT

SOURCE = '''
import nothing_that_exists

class Base:
    def __init__(self, model, *, window: int | str = "auto"): ...

class Child(Base):
    pass

class Pair:
    def __init__(self, decay: float | tuple[float, float], kind: Literal["a", "b"] = "a",
                 n: "int | None" = None, unknown: Something = 1): ...

class Bounded:
    def __init__(self, n: Count = 1, some: Count | None = None, tau: Positive = 1.0,
                 slack: NotNegative = 0.0): ...

class Open:
    def __init__(self, **kwargs): ...

try:
    import faster
except ImportError:
    class Late(Base): ...

Other = Made = make(Missing)
'''


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_plugin.py").write_text(SOURCE)
    package = tmp_path / "planted_package"
    package.mkdir()
    (package / "__init__.py").write_text("from planted_package.inner import Inner as Outer\n")
    (package / "inner.py").write_text("from planted_plugin import Base\nclass Inner(Base): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    signature.read.cache_clear()


def check(target: str, **hyperparameters: object) -> None:
    signature.check("algo", {"_target_": target, **hyperparameters}, given=("model",))


@pytest.mark.parametrize("target", [
    "planted_plugin.Base", "planted_plugin.Child", "planted_plugin.Late",
    "planted_package.Outer"])
def test_names_are_found_through_bases_and_imports(target: str) -> None:
    check(target, window=3)
    with pytest.raises(BadInput, match=r"algo\.windo: expected window, got windo\. "
                                       r"Did you mean window\?"):
        check(target, windo=3)


@pytest.mark.parametrize("target", ["planted_plugin.Made", "planted_plugin.faster",
                                    "planted_stars.Any"])
def test_what_the_text_of_a_file_does_not_tell_is_left_to_the_cell(
    target: str, tmp_path: Path
) -> None:
    (tmp_path / "planted_stars.py").write_text("from planted_plugin import *\n")
    check(target, anything=3)


def test_open_signatures_take_anything() -> None:
    check("planted_plugin.Open", anything=1)


@pytest.mark.parametrize("hyperparameters", [
    {"decay": 0.9}, {"decay": 1}, {"decay": [0.9, 0.5]}, {"kind": "b"}, {"n": None}, {"n": 3},
    {"unknown": object()}])
def test_values_that_fit(hyperparameters: dict[str, object]) -> None:
    check("planted_plugin.Pair", **hyperparameters)


@pytest.mark.parametrize("hyperparameters", [
    {"decay": "high"}, {"decay": True}, {"decay": None}, {"kind": "c"}, {"n": "3"}])
def test_values_that_do_not(hyperparameters: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="expected"):
        check("planted_plugin.Pair", **hyperparameters)


@pytest.mark.parametrize("hyperparameters", [
    {"n": 1}, {"some": None}, {"some": 2}, {"tau": 1}, {"tau": 1e-9}, {"slack": 0}])
def test_values_within_their_bounds(hyperparameters: dict[str, object]) -> None:
    check("planted_plugin.Bounded", **hyperparameters)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(("hyperparameters", "words"), [
    *(({"n": value}, "a whole number of at least 1") for value in (0, -3, 1.0, NAN, INF, True)),
    *(({"some": value}, "a whole number of at least 1, or null") for value in (0, -3, 1.5)),
    *(({"tau": value}, "a number above 0") for value in (0, -3, NAN, INF, True)),
    *(({"slack": value}, "a number of at least 0") for value in (-1e-9, NAN, INF, False)),
    ({"some": "3"}, "int | None"), ({"tau": None}, "float"), ({"slack": [0.0]}, "float")])
def test_values_beyond_them(hyperparameters: dict[str, object], words: str) -> None:
    (name, value), = hyperparameters.items()
    with pytest.raises(BadInput, match=re.escape(f"algo.{name}: expected {words}, got {value}.")):
        check("planted_plugin.Bounded", **hyperparameters)


@pytest.mark.parametrize("target", ["no_such_module.X", "planted_plugin.Bass", "Bare",
                                    "planted_plugin.Missing"])
def test_targets_that_are_not_there(target: str) -> None:
    with pytest.raises(BadInput, match="_target_: expected"):
        check(target)


def test_the_parent_process_never_imports_jax() -> None:
    program = ("import sys; from bench.command import cli\n"
               "cli.cells_of(None, ['+experiment=quick'], False)\n"
               "print(sorted({'jax', 'core', 'brainstate', 'reports'} & set(sys.modules)))")
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True,
                            text=True, check=True)
    assert answer.stdout == "[]\n"

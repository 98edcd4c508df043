"""What constructors take: names, types, bounds, inheritance; and no jax in the parent's process."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import pytest

from bench import instantiate
from bench.bounds import Count, NotNegative, Positive
from bench.command import cli
from bench.errors import BadInput
from bench.sweep.provenance import ROOT

if TYPE_CHECKING:
    from nowhere import Something


class Base:
    def __init__(self, model: Any, *, window: int | str = "auto") -> None: ...


class Child(Base):
    pass


class Strange:
    def __init__(self, unknown: Something = 1) -> None: ...


class Bare:
    pass


class Bounded:
    def __init__(
        self,
        n: Count = 2,
        some: Count | None = None,
        tau: Positive = 1.5,
        slack: NotNegative = 0.0,
        decay: float | tuple[float, float] = 0.9,
        kind: Literal["a", "bc"] = "a",
        table: Mapping[str, int] | None = None,
    ) -> None: ...


class Colour(Enum):
    RED = "r"
    BLUE = "b"


class Kept:
    def __init__(
        self,
        colour: Colour | None = Colour.RED,
        sizes: list[int] | None = None,
        pair: Sequence[float] = (),
        table: Mapping[str, Any] | None = None,
    ) -> None:
        self.all = colour, sizes, pair, table


def loose(**settings: Any) -> None: ...


def plainly(**settings: Any) -> dict[str, Any]:
    return settings


def check(target: str, **hyperparameters: object) -> None:
    instantiate.check("algo", {"_target_": f"{__name__}.{target}", **hyperparameters})


@pytest.mark.parametrize("target", ["Base", "Child"])
def test_names_are_found_through_bases(target: str) -> None:
    check(target, window=3)
    with pytest.raises(
        BadInput,
        match=r"algo\.windo: expected window; got windo\. "
        r"Did you mean window\?",
    ):
        check(target, windo=3)


def test_what_is_not_known_fits() -> None:
    check("loose", anything=1)
    check("Strange", unknown=[1])
    with pytest.raises(BadInput, match=r"algo\.x: expected no hyperparameter; got x\."):
        check("Bare", x=1)


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"decay": 0.9},
        {"decay": 1},
        {"decay": [0.9, 0.5]},
        {"kind": "bc"},
        {"n": 1},
        {"some": None},
        {"some": 2},
        {"tau": 1},
        {"tau": 1e-9},
        {"slack": 0},
        {"table": {"a": 1}},
    ],
)
def test_values_that_fit(hyperparameters: dict[str, object]) -> None:
    check("Bounded", **hyperparameters)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("hyperparameters", "words"),
    [
        *(({"n": value}, "a whole number of at least 1") for value in (0, -3, 1.0, NAN, True)),
        *(
            ({"some": value}, "a whole number of at least 1, or null")
            for value in (0, -3, 1.5, "3")
        ),
        *(({"tau": value}, "a number above 0") for value in (0, -3, NAN, None, True)),
        *(({"slack": value}, "a number of at least 0") for value in (-1e-9, [0.0], False)),
        ({"n": 2**31}, "a whole number of at most 2147483647"),
        ({"tau": INF}, "a number of at most "),
        *(({"decay": value}, "a number, or a list") for value in ("high", True, None)),
        ({"kind": "c"}, "one of a, bc"),
        ({"table": 3}, "settings by name, or null"),
    ],
)
def test_values_that_do_not(hyperparameters: dict[str, object], words: str) -> None:
    ((name, value),) = hyperparameters.items()
    with pytest.raises(BadInput, match=re.escape(f"algo.{name}: expected {words}")) as error:
        check("Bounded", **hyperparameters)
    typed = {"True": "true", "False": "false", "None": "null", "'3'": "the text '3'"}
    assert f"; got {typed.get(repr(value), value)}." in str(error.value)


def test_values_of_yaml_come_as_their_hints_say() -> None:
    settings = {"colour": "BLUE", "sizes": [1, 2], "pair": [1, 2], "table": {"a": [1]}}
    check("Kept", **settings)
    made = instantiate.instantiate({"_target_": f"{__name__}.Kept", **settings})
    assert made.all == (Colour.BLUE, [1, 2], (1, 2), {"a": [1]})
    made = instantiate.instantiate({"_target_": f"{__name__}.Kept", "colour": "r"})
    assert made.all == (Colour.RED, None, (), None)
    with pytest.raises(BadInput, match="expected one of RED, BLUE, null; got BLU"):
        check("Kept", colour="BLU")


def test_settings_by_number_come_as_they_were_typed() -> None:
    typed = "{0: 0.9, half: [{1.5: 2, true: 3}], -2: 5}"
    (cell,) = cli.cells_of(None, [f"+algo.table={typed}"], False)
    table = cell.config.algo["table"]
    made = instantiate.instantiate({"_target_": f"{__name__}.Kept", "table": table})
    assert set(made.all[3]) == {"0", "half", "-2"}  # names, says its hint
    made = instantiate.instantiate({"_target_": f"{__name__}.plainly", "x": table})
    assert made == {"x": {0: 0.9, "half": [{1.5: 2, True: 3}], -2: 5}}


def test_a_number_to_try_is_the_default_or_the_least() -> None:
    for name, tried in (("n", "2"), ("tau", "1.5"), ("some", "1"), ("slack", "0.0")):
        with pytest.raises(BadInput, match=re.escape(f"Try algo.{name}={tried}.")):
            check("Bounded", **{name: -1})


@pytest.mark.parametrize("target", ["no_such_module.X", "tests.bench.test_bounds.Bass", "Bare"])
def test_targets_that_are_not_there(target: str) -> None:
    with pytest.raises(BadInput, match="_target_: expected package"):
        instantiate.check("algo", {"_target_": target})


def test_the_parent_process_never_imports_jax() -> None:
    program = (
        "import sys; from bench.command import cli\n"
        "cli.cells_of(None, ['+experiment=quick'], False)\n"
        "theirs = 'jax', 'core', 'brainstate', 'reports'\n"
        "print(*(name for name in sys.modules if name.split('.')[0] in theirs))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "core core.errors\n"

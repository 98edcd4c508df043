"""The typed description of one cell, checked before any cell runs."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench import environments
from bench.backends.base import Backend
from bench.bounds import BOUNDS, LARGEST
from bench.errors import BadInput, suggest
from bench.instantiate import instantiate, target_of
from bench.sweep import plots, signature, tuning

GROUPS = ("algo", "batching", "model", "task", "backend", "device")
BUILT = ("algo", "model", "task", "backend")  # have a _target_; the others are settings
AXES = ("batch_size", "n_hidden", "n_layers", "n_steps")

# What a cell measures does not depend on where it is kept or how it was started.
NOT_IN_KEY = ("out", "plan", "resume", "report", "plot", "experiment", "question", "repeats",
              "tune")

# What a whole command has one of.
PER_COMMAND = ("experiment", "out", "plan", "plot", "question", "report", "tune")

# Of a larger one jax takes the lowest 32 bits, so that two seeds would give the same weights.
MAX_SEED = 2**32 - 1

# Each is a process, and a row; a CPU makes a device of its own for each.
MAX_REPEATS, MAX_DEVICES = 10_000, 1024

# Arguments that the worker passes to a group's target by itself.
GIVEN = {
    "algo": ("model", "mode"),
    "model": ("n_in", "n_hidden", "n_out", "n_layers"),
    "task": ("n_steps", "batch_size", "seed"),
}


@dataclass(frozen=True)
class Cell:
    """One point of a sweep: the composed configuration and which option each group took.

    Attributes:
        config: the whole composed configuration, resolved, without Hydra's own part.
        choices: option chosen in each group, ``{"algo": "d_rtrl", ...}``.
        repeat: which of the fresh processes of this point, from 0.
        apart: settings that tell it from others of the same title, ``("seed=1",)``.
    """

    config: dict[str, Any]
    choices: dict[str, str]
    repeat: int = 0
    apart: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """The identifying columns of the cell's row."""
        return {
            **{group: self.choices[group] for group in GROUPS},
            **{axis: self.config[axis] for axis in AXES},
            "seed": self.config["seed"],
            "repeat": self.repeat,
        }

    def identity(self, environment: Mapping[str, Any]) -> str:
        """Hash of configuration, repeat and environment: equal for two versions of the code."""
        config = {k: v for k, v in self.config.items() if k not in NOT_IN_KEY}
        return digest([config, self.choices, self.repeat, environment])

    def key(self, environment: Mapping[str, Any], code: str) -> str:
        """Hash that names the cell's record: its identity and the code that measured it."""
        return digest([self.identity(environment), code])

    def repeated(self, repeat: int) -> Cell:
        """The same cell in another fresh process."""
        return replace(self, repeat=repeat)

    def title(self) -> str:
        """One short line for people."""
        c = self.config
        axes = f"B{c['batch_size']} H{c['n_hidden']} T{c['n_steps']}"
        parts = [self.choices["algo"], self.choices["batching"], self.choices["model"], axes]
        if self.choices["backend"] != "core":
            parts.append(self.choices["backend"])
        parts += self.apart
        return " ".join([*parts, f"r{self.repeat}"] if self.repeat else parts)


def told_apart(cells: Sequence[Cell]) -> list[Cell]:
    """The cells in their order, those of one title with the settings in which they differ."""
    titles = [cell.title() for cell in cells]
    settings = [{**cell.choices, **dict(_settings(cell.config))} for cell in cells]
    values: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for title, own in zip(titles, settings, strict=True):
        for key, value in own.items():
            values[title, key].add(str(value))
    return [replace(cell, apart=tuple(f"{key.rpartition('.')[2]}={value}"
                                      for key, value in own.items()
                                      if len(values[title, key]) > 1))
            for cell, title, own in zip(cells, titles, settings, strict=True)]


def one_for_all(cells: Sequence[Cell]) -> None:
    """Refuses cells that differ in what a command has one of, such as its folder.

    Raises:
        BadInput: for the first such key.
    """
    for key in PER_COMMAND:
        values = {json.dumps(cell.config[key]): cell.config[key] for cell in cells}
        if len(values) > 1:
            raise BadInput(key, expected="one value for the whole sweep",
                           came=", ".join(str(value) for value in values.values()),
                           do="Start a command for each.")


def _settings(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """What a person sets in a configuration, by dotted key."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{path}{key}.")
        elif key not in (*NOT_IN_KEY, "_target_"):
            yield path + key, value


def kind_of(row: Mapping[str, Any]) -> str:
    """What cells share that take about as long as each other."""
    return f"{row['algo']} {row['batching']} {row['model']}"


def digest(value: Any) -> str:
    """16 hexadecimal digits that stand for a JSON-like value."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def checked(config: dict[str, Any], choices: dict[str, str], known: set[str]) -> Cell:
    """A cell from a composed configuration.

    Args:
        config: composed and resolved configuration.
        choices: option chosen in each group.
        known: top-level keys that a configuration may have.

    Raises:
        BadInput: on the first value that cannot be used.
    """
    for key in config:
        if key not in known:
            raise BadInput(key, expected="a key of the configuration", came=key,
                           do=suggest(key, known))
    config.setdefault("metric", {})  # of metric=[] nothing is left
    for key in sorted(known - set(config)):
        raise BadInput(key, expected=f"{key}=VALUE", came=f"~{key}",
                       do="Only hyperparameters can be left out.")
    if not config["metric"]:
        raise BadInput("metric", expected="at least one metric", came="none",
                       do="Leave metric= out for all of them.")
    for key, rule in RULES.items():
        config[key] = rule(key, config[key])
    for group in BUILT:
        signature.check(group, config[group], GIVEN.get(group, ()))
    backend = _backend(config["backend"])
    if config["python"] is None:
        wanted = backend.environment
        config["python"] = wanted if wanted and environments.built(wanted) else None
    for name, metric in config["metric"].items():
        signature.check(f"metric.{name}", metric)
    _check_steps(config, choices["task"])
    return Cell(config, choices)


def _backend(node: Mapping[str, Any]) -> Backend:
    """The backend of a cell.

    Raises:
        BadInput: when it is none, or cannot be built.
    """
    try:
        target = target_of(node)
        if isinstance(target, type) and issubclass(target, Backend):
            made: Backend = instantiate(node)
            return made
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise BadInput.quoting("backend", " ".join(str(error).split())) from error
    raise BadInput("backend", expected="a subclass of bench.backends.base.Backend",
                   came=str(node["_target_"]), do="See bench/backends/ for some.")


def _check_steps(config: Mapping[str, Any], task: str) -> None:
    steps = config["n_steps"]
    multiple = _whole(1, 8)("task.steps_multiple_of", config["task"].get("steps_multiple_of", 1))
    if steps % multiple:
        nearest = max(multiple, multiple * round(steps / multiple))
        raise BadInput("n_steps", expected=f"a multiple of {multiple} on {task}", came=str(steps),
                       do=f"Try n_steps={nearest}.")
    every = config["update_every"]
    if every != "sequence" and every > steps:
        raise BadInput("update_every", expected=f"at most n_steps={steps}", came=str(every),
                       do="Use update_every=sequence for one update a sequence.")


def _whole(minimum: int, example: int, most: int = LARGEST) -> Callable[[str, Any], int]:
    def rule(key: str, value: Any) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not minimum <= value <= most:
            bound = f"at most {most}" if whole and value > most else f"at least {minimum}"
            raise BadInput(key, expected=f"a whole number of {bound}", came=str(value),
                           do=f"Try {key}={example}.")
        return int(value)

    return rule


def _positive(example: str, most: float = sys.float_info.max) -> Callable[[str, Any], float]:
    bound = BOUNDS["Positive"]

    def rule(key: str, value: Any) -> float:
        if not bound.holds(value) or value > most:
            words = f"a number of at most {most:g}" if bound.holds(value) else bound.expected(value)
            raise BadInput(key, expected=words, came=str(value), do=f"Try {key}={example}.")
        return float(value)

    return rule


def _one_of(*options: Any) -> Callable[[str, Any], Any]:
    def rule(key: str, value: Any) -> Any:
        if not any((value, type(value)) == (option, type(option))
                   for option in options):
            words = [str(option).lower() if isinstance(option, bool) else str(option)
                     for option in options]
            raise BadInput(key, expected=f"one of {', '.join(words)}", came=str(value),
                           do=suggest(str(value), words))
        return value

    return rule


def _update_every(key: str, value: Any) -> int | str:
    if value == "sequence":
        return "sequence"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(key, expected="sequence, or a whole number of steps of at least 1",
                       came=str(value), do=suggest(str(value), ["sequence"]))
    return value


def _folder(key: str, value: Any) -> str | None:
    # out=2024 is a folder as well.
    if value is None:
        return None
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise BadInput(key, expected="the name of a folder", came=str(value),
                   do=f"Put quotes around it: {key}=\"'{value}'\".")


def _question(key: str, value: Any) -> str:
    if isinstance(value, dict | list):
        raise BadInput(key, expected="a sentence", came=str(value),
                       do=f"Put quotes around it: {key}=\"'{value}'\".")
    return "" if value is None else str(value)


def _or_none(given: Callable[[str, Any], float]) -> Callable[[str, Any], float | None]:
    return lambda key, value: None if value is None else given(key, value)


def _exactly(**rules: Callable[[str, Any], Any]) -> Callable[[str, Any], dict[str, Any]]:
    def rule(key: str, value: Any) -> dict[str, Any]:
        names = " and ".join(rules)
        if not isinstance(value, dict):
            raise BadInput(key, expected=f"settings {names}", came=str(value))
        for name in value:
            if name not in rules:
                raise BadInput(f"{key}.{name}", expected=names, came=name, do=suggest(name, rules))
        for name in rules:
            if name not in value:
                raise BadInput(f"{key}.{name}", expected="a value", came="none at all")
        return {name: check(f"{key}.{name}", value[name]) for name, check in rules.items()}

    return rule


RULES: dict[str, Callable[[str, Any], Any]] = {
    "batch_size": _whole(1, 64),
    "n_hidden": _whole(1, 64),
    "n_layers": _whole(1, 1),
    "n_steps": _whole(1, 16),
    "seed": _whole(0, 0, MAX_SEED),
    "repeats": _whole(1, 3, MAX_REPEATS),
    "epochs": _whole(1, 5),
    "devices": _whole(1, 1, MAX_DEVICES),
    "threads": _or_none(_whole(1, 1, MAX_DEVICES)),
    "lr": _positive("1e-3"),
    "clip_norm": _positive("1.0"),
    "dtype": _one_of("float32", "float64"),
    "out": _folder,
    "plan": _one_of(True, False),
    "plot": plots.checked,
    "question": _question,
    "report": _one_of(True, False),
    "resume": _one_of(True, False, "retry"),
    "tune": tuning.checked,
    "update_every": _update_every,
    "python": environments.checked,
    "limits": _exactly(deadline_s=_positive("600", 1e9),
                       memory_gib=_or_none(_positive("4", 1e6))),
    "batching": _exactly(mode=_one_of("manual", "vmap", "single")),
    "device": _exactly(platform=_one_of("cpu", "gpu")),
}

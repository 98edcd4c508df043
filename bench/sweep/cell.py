"""The typed description of one cell, checked before any cell runs."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

from bench import bounds, instantiate
from bench.backends.base import Backend
from bench.config import HINTS, Config
from bench.errors import BadInput, suggest
from bench.sweep import interpreters, tuning

GROUPS = ("algo", "batching", "model", "task", "backend", "device")
BUILT = ("algo", "model", "task", "backend")  # have a _target_; the others are settings
AXES = ("batch_size", "n_hidden", "n_layers", "n_steps")

# What a whole command has one of.
PER_COMMAND = ("out", "plan", "plot", "question", "report", "tune")

# What a cell measures does not depend on where it is kept or how it was started.
NOT_IN_KEY = (*PER_COMMAND, "experiment", "repeats", "resume")


@dataclass(frozen=True)
class Cell:
    """One point of a sweep: the composed configuration and which option each group took.

    Attributes:
        config: the whole composed configuration.
        choices: option chosen in each group, ``{"algo": "d_rtrl", ...}``.
        repeat: which of the fresh processes of this point, from 0.
        apart: settings that tell it from others of the same title, ``("seed=1",)``.
    """

    config: Config
    choices: dict[str, str]
    repeat: int = 0
    apart: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As dictionaries, for a file."""
        return {**vars(self), "config": self.config.plain()}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Cell:
        """From the dictionaries that ``plain`` gave."""
        return cls(**{**plain, "config": Config.of(plain["config"])})

    def row(self) -> dict[str, Any]:
        """The identifying columns of the cell's row."""
        return {
            **{group: self.choices[group] for group in GROUPS},
            **{axis: getattr(self.config, axis) for axis in AXES},
            "seed": self.config.seed,
            "repeat": self.repeat,
        }

    def identity(self, environment: Mapping[str, Any]) -> str:
        """Hash of configuration, repeat and environment: equal for two versions of the code."""
        config = self.config.plain()
        measured = {key: value for key, value in config.items() if key not in NOT_IN_KEY}
        return digest([measured, self.choices, self.repeat, environment])

    def key(self, environment: Mapping[str, Any], code: str) -> str:
        """Hash that names the cell's record: its identity and the code that measured it."""
        return digest([self.identity(environment), code])

    def having(self, **settings: Any) -> Cell:
        """The cell with other values of these settings."""
        return replace(self, config=replace(self.config, **settings))

    def repeated(self, repeat: int) -> Cell:
        """The same cell in another fresh process."""
        return replace(self, repeat=repeat)

    def title(self) -> str:
        """One short line for people."""
        c = self.config
        axes = f"B{c.batch_size} H{c.n_hidden} T{c.n_steps}"
        parts = [self.choices["algo"], self.choices["batching"], self.choices["model"], axes]
        if self.choices["backend"] != "core":
            parts.append(self.choices["backend"])
        parts += self.apart
        return " ".join([*parts, f"r{self.repeat}"] if self.repeat else parts)


def told_apart(cells: Sequence[Cell]) -> list[Cell]:
    """The cells in their order, those of one title with the settings in which they differ.

    What belongs to a choice, as ``n_test`` to a task, is named only where that choice is the same.
    """
    titles = [replace(cell, apart=()).title() for cell in cells]
    settings = [
        {(group, None): option for group, option in cell.choices.items()}
        | {
            (key, cell.choices.get(key.partition(".")[0])): value
            for key, value in _settings(cell.config.plain())
        }
        for cell in cells
    ]
    values = defaultdict[Any, set[str]](set)
    for title, own in zip(titles, settings, strict=True):
        for key, value in own.items():
            values[title, key].add(str(value))
    told = []
    for cell, title, own in zip(cells, titles, settings, strict=True):
        differ = {key: value for key, value in own.items() if len(values[title, key]) > 1}
        words = [f"{name.rpartition('.')[2]}={value}" for (name, _), value in differ.items()]
        told.append(replace(cell, apart=tuple(words)))
    return told


def one_for_all(cells: Sequence[Cell]) -> None:
    """Refuses cells that differ in what a command has one of, such as its folder."""
    for key in PER_COMMAND:
        every = [getattr(cell.config, key) for cell in cells]
        # Of settings by name those that differ, or all of them would be said.
        named = [
            {f"{key}.{name}": own for name, own in value.items()}
            if isinstance(value, Mapping)
            else {key: value}
            for value in every
        ]
        for name in dict.fromkeys(name for own in named for name in own):
            values = {json.dumps(own.get(name)): own.get(name) for own in named}
            if len(values) > 1:
                raise BadInput(
                    name,
                    "one value for the whole sweep",
                    ", ".join(str(value) for value in values.values()),
                    "Start a command for each.",
                )


def _settings(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """What a person sets in a configuration, by dotted key."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{path}{key}.")
        elif key not in (*NOT_IN_KEY, "_target_"):
            yield path + key, value


def kind_of(row: Mapping[str, Any]) -> str:
    """What cells share that take about as long as each other."""
    return " ".join(str(row.get(group)) for group in ("algo", "batching", "model"))


def digest(value: Any) -> str:
    """16 hexadecimal digits that stand for a JSON-like value."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def checked(config: dict[str, Any], choices: dict[str, str], defaults: Mapping[str, Any]) -> Cell:
    """A cell from a composed configuration.

    The arguments of constructors that need jax are left to the trial of cells.

    Args:
        config: composed and resolved configuration.
        choices: option chosen in each group.
        defaults: of every setting.

    Raises:
        BadInput: on the first value that cannot be used.
    """
    for key in config:
        if key not in HINTS:
            raise BadInput(key, "a key of the configuration", key, suggest(key, HINTS))
    config = {"metric": {}, **config}  # of metric=[] nothing is left
    for key in HINTS:
        if key not in config:
            raise BadInput(key, f"{key}=VALUE", f"~{key}", "Only hyperparameters can be left out.")
    config |= {
        "plot": _plots(config["plot"]),
        "tune": tuning.checked("tune", config["tune"]),
        "out": _text("out", config["out"], "the name of a folder"),
        "question": _text("question", config["question"], "a sentence") or "",
        "python": interpreters.checked("python", config["python"]),
    }
    if not config["metric"]:
        raise BadInput(
            "metric", "at least one metric", "none", "Leave metric= out for all of them."
        )
    for group, node in [
        *((group, config[group]) for group in BUILT),
        *((f"metric.{name}", node) for name, node in config["metric"].items()),
    ]:
        if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
            raise BadInput(group, "_target_: package.module.Name and its arguments", str(node))
    for key, hint in HINTS.items():
        if is_dataclass(hint):
            instantiate.check_call(key, hint, config[key])
        else:
            bounds.check(key, config[key], hint, defaults.get(key))
    for name, node in config["metric"].items():
        instantiate.check(f"metric.{name}", node)
    instantiate.of_class("backend", config["backend"], Backend)
    cell = Cell(Config.of(config), choices)
    _check_steps(cell.config, choices["task"])
    return cell


def _plots(asked: Any) -> dict[str, dict[str, str]]:
    """The rule of ``plot``: every entry names a module that can be found; none is imported."""
    if asked in (None, []):
        return {}
    if not isinstance(asked, dict):
        # Without any folder plot Hydra takes the names for a value.
        raise BadInput(
            "plot",
            "names of YAML files in a folder plot of your own",
            ", ".join(map(str, asked)) if isinstance(asked, list) else str(asked),
            "Give the folder around it as --config-dir. What the report draws by "
            "itself need not be asked for.",
        )
    for name, node in asked.items():
        target = node.get("_target_") if isinstance(node, dict) else None
        found = None
        with contextlib.suppress(ImportError, ValueError, AttributeError):
            found = importlib.util.find_spec(target or "")
        if found is None or set(node) != {"_target_"}:
            raise BadInput(
                f"plot.{name}",
                "_target_: MODULE, one that can be found",
                str(target or node),
                "Is its folder on PYTHONPATH?",
            )
    return asked


def _text(key: str, value: Any, expected: str) -> str | None:
    """Words that somebody typed, which may look like a number (out=2024)."""
    if isinstance(value, dict | list | bool):
        raise BadInput(key, expected, str(value), f"Put quotes around it: {key}=\"'{value}'\".")
    return None if value is None else str(value)


def _check_steps(config: Config, task: str) -> None:
    steps, multiple = config.n_steps, config.task.get("steps_multiple_of", 1)
    bounds.check("task.steps_multiple_of", multiple, bounds.Count)
    if steps % multiple:
        nearest = max(multiple, multiple * round(steps / multiple))
        raise BadInput(
            "n_steps", f"a multiple of {multiple} on {task}", str(steps), f"Try n_steps={nearest}."
        )
    if config.left_out >= steps:
        raise BadInput(
            "loss_after",
            expected=f"less than all n_steps={steps}",
            came=str(config.loss_after),
            do="Use loss_after=0.75 for a loss on the last quarter.",
        )
    if config.update_every != "sequence" and config.update_every > steps:
        raise BadInput(
            "update_every",
            f"at most n_steps={steps}",
            str(config.update_every),
            "Use update_every=sequence for one update a sequence.",
        )

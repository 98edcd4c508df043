"""The typed description of one cell, checked before any cell runs."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bench import bounds, instantiate
from bench.backends.base import Backend
from bench.bounds import is_number
from bench.config import Config
from bench.errors import BadInput
from bench.metrics.base import Metric, of_repeats
from bench.sweep import interpreters, provenance, tuning
from bench.sweep.inputs import data_of, digest

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

    def row(self) -> dict[str, Any]:
        """The identifying columns of the cell's row."""
        return {
            **{group: self.choices[group] for group in GROUPS},
            **{axis: getattr(self.config, axis) for axis in AXES},
            "seed": self.config.seed,
            "repeat": self.repeat,
        }

    @cached_property
    def key(self) -> str:
        """Names its record: a hash of what it is here, and of the code that measures it."""
        return digest([self.identity, provenance.code_of(self.config)])

    @cached_property
    def identity(self) -> str:
        """Names it on machines like this one, whatever code measures it."""
        return self._hashed(provenance.environment_of(self.config))

    @cached_property
    def identity_anywhere(self) -> str:
        """Names it on any machine, whatever code measures it."""
        return self._hashed(provenance.software(self.config.python) | data_of(self.config))

    def _hashed(self, environment: Mapping[str, Any]) -> str:
        config = self.config.plain()
        measured = {key: value for key, value in config.items() if key not in NOT_IN_KEY}
        return digest([measured, self.choices, self.repeat, environment])

    def having(self, **settings: Any) -> Cell:
        """The cell with other values of these settings."""
        return replace(self, config=replace(self.config, **settings))

    def processes(self) -> list[Cell]:
        """One cell for each of its ``repeats``: the first, and those of what a process changes."""
        if self.config.repeats == 1:
            return [self]
        asked = self.config.metric
        again = of_repeats({name: instantiate.instantiate(node) for name, node in asked.items()})
        less = self.having(metric={name: asked[name] for name in again})
        return [self, *(replace(less, repeat=r) for r in range(1, self.config.repeats))]

    @property
    def clocks(self) -> list[str]:
        """The names of its metrics that time training steps."""
        metrics = self.config.metric.items()
        return [name for name, node in metrics if instantiate.target_of(node).is_clock]

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
        | {("metric", None): "+".join(cell.config.metric)}
        | {
            (key, cell.choices.get(key.partition(".")[0])): value
            for key, value in _flat(cell.config.plain())
            if key.partition(".")[0] not in NOT_IN_KEY and not key.endswith("_target_")
        }
        for cell in cells
    ]
    values = defaultdict[Any, set[str]](set)
    for title, own in zip(titles, settings, strict=True):
        for key, value in own.items():
            values[title, key].add(str(value))
    told = []
    for cell, title, own in zip(cells, titles, settings, strict=True):
        differ = [(key[0], value) for key, value in own.items() if len(values[title, key]) > 1]
        words = (f"{name.rpartition('.')[2]}={value}" for name, value in differ)
        told.append(replace(cell, apart=tuple(words)))
    return told


def one_for_all(cells: Sequence[Cell]) -> None:
    """Refuses cells that differ in what a command has one of, such as its folder."""
    every = [dict(_flat({k: getattr(cell.config, k) for k in PER_COMMAND})) for cell in cells]
    for key in dict.fromkeys(key for own in every for key in own):
        values = {json.dumps(own.get(key)): str(own.get(key)) for own in every}
        if len(values) > 1:
            expected, came = "one value for the whole sweep", ", ".join(values.values())
            raise BadInput(key, expected, came, "Start a command for each.")


def _flat(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted key."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def kind_of(row: Mapping[str, Any]) -> str:
    """What cells share that take about as long as each other; a repeat leaves out a good part."""
    groups = [str(row.get(group)) for group in ("algo", "batching", "model")]
    return " ".join([*groups, "again"] if row.get("repeat") else groups)


def checked(
    config: dict[str, Any], choices: dict[str, str], defaults: Callable[[], Mapping[str, Any]]
) -> Cell:
    """A cell from a composed configuration; a BadInput for the first value that cannot be used.

    The arguments of constructors that need jax are left to the trial of cells.
    """
    config = {
        **config,
        "metric": config.get("metric", {}),  # of metric=[] nothing is left
        "plot": _plots(config.get("plot")),
        "tune": tuning.checked(config["tune"]),
        "python": interpreters.checked(config.get("python")),
        # Words that look like a number: out=2024.
        **{key: str(config[key]) for key in ("out", "question") if is_number(config.get(key))},
    }
    if not config["metric"]:
        do = "Leave metric= out for all of them."
        raise BadInput("metric", "at least one metric", "none", do)
    bounds.check("metric", config["metric"], dict)  # a file of a list, say
    for group, node in [
        *((group, config[group]) for group in BUILT),
        *((f"metric.{name}", node) for name, node in config["metric"].items()),
    ]:
        if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
            do = "Its YAML begins with # @package metric.NAME." * (group == "metric._target_")
            raise BadInput(group, "_target_: package.module.Name and its arguments", str(node), do)
    instantiate.check_call("", Config, config, defaults=defaults)
    for name, node in config["metric"].items():
        instantiate.made(f"metric.{name}", node, Metric)
    instantiate.made("backend", config["backend"], Backend)
    cell = Cell(Config.of(config), choices)
    _check_steps(cell.config, choices["task"])
    return cell


def _plots(asked: Any) -> dict[str, dict[str, str]]:
    """The rule of ``plot``: every entry names a module that can be found; none is imported."""
    if asked in (None, []):
        return {}
    if not isinstance(asked, dict):  # without any folder plot Hydra takes the names for a value
        expected = "names of YAML files in a folder plot of your own"
        raise BadInput("plot", expected, str(asked), "Give the folder around it as --config-dir.")
    for name, node in asked.items():
        target = node.get("_target_") if isinstance(node, dict) else None
        found = None
        with contextlib.suppress(ImportError, ValueError, AttributeError):
            found = importlib.util.find_spec(target or "")
        if found is None or set(node) != {"_target_"}:
            expected, do = "_target_: MODULE, one that can be found", "Is its folder on PYTHONPATH?"
            raise BadInput(f"plot.{name}", expected, str(target or node), do)
    return asked


def _check_steps(config: Config, task: str) -> None:
    steps, multiple = config.n_steps, config.task.get("steps_multiple_of", 1)
    bounds.check("task.steps_multiple_of", multiple, bounds.Count)
    if steps % multiple:
        nearest = max(multiple, multiple * round(steps / multiple))
        expected = f"a multiple of {multiple} on {task}"
        raise BadInput("n_steps", expected, steps, f"Try n_steps={nearest}.")
    if config.left_out >= steps:
        do = "Use loss_after=0.75 for a loss on the last quarter."
        raise BadInput("loss_after", f"less than all n_steps={steps}", config.loss_after, do)
    if config.update_every != "sequence" and config.update_every > steps:
        do = "Use update_every=sequence for one update a sequence."
        raise BadInput("update_every", f"at most n_steps={steps}", config.update_every, do)

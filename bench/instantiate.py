"""The object that a ``_target_`` names: what its constructor takes, and building it."""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from typing import Any

from bench import bounds
from bench.config import Config
from bench.errors import BadInput, Ended, kind_and_words, one_of, quoted, suggest
from core.errors import is_whole

# Arguments that a cell passes to a group's target by itself.
GIVEN = {
    "algo": ("model", "mode"),
    "model": ("n_in", "n_hidden", "n_out", "n_layers"),
    "task": ("n_steps", "batch_size", "seed"),
}


def instantiate(node: Mapping[str, Any], *args: Any, **given: Any) -> Any:
    """Calls the target of ``{"_target_": "package.module.Name", ...}`` with the other entries."""
    target = target_of(node)
    hints = {name: parameter.annotation for name, parameter in _parameters(target).items()}
    plain = {k: bounds.as_hinted(v, hints.get(k)) for k, v in node.items() if k != "_target_"}
    return target(*args, **plain, **given)


def task_of(config: Config) -> Any:
    """The task of a cell, whose loss leaves out the first steps where the cell says so.

    A BadInput where it does not say what goes in and what is asked for.
    """
    import numpy as np

    from bench.answers import Answers

    task = instantiate(
        config.task, n_steps=config.n_steps, batch_size=config.batch_size, seed=config.seed
    )
    for name in "n_in", "n_out":
        if not is_whole(size := getattr(task, name, None), 1):
            raise BadInput(f"task.{name}", "a whole number of at least 1", repr(size))
    if not isinstance(task.answers, Answers):
        expected = "CLASSES or NUMBERS of bench.answers"
        raise BadInput("task.answers", expected, repr(task.answers))
    if config.left_out:
        asked = (np.arange(config.n_steps) >= config.left_out).astype(np.float32)
        task.mask = asked if task.mask is None else asked * task.mask
    return task


def target_of(node: Mapping[str, Any]) -> Any:
    """What the ``_target_`` of a configuration node names."""
    module, _, name = str(node["_target_"]).rpartition(".")
    return getattr(importlib.import_module(module), name)


def check(group: str, node: Mapping[str, Any], base: type | None = None) -> None:
    """Refuses a node that somebody may have written, unless its target takes these arguments.

    Where a base is given, the target has to be a subclass of it.
    """
    try:
        target = target_of(node)
    except Ended:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # importing a plug-in runs its code
        expected = "package.module.Name of something that can be imported"
        do = f"{kind_and_words(error)}."
        raise BadInput(f"{group}._target_", expected, node["_target_"], do) from error
    if base is not None and not (isinstance(target, type) and issubclass(target, base)):
        expected = f"a subclass of {base.__module__}.{base.__name__}"
        folder = base.__module__.rpartition(".")[0].replace(".", "/")
        raise BadInput(group, expected, node["_target_"], f"See {folder}/ for some.")
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    check_call(group, target, arguments, GIVEN.get(group, ()))


def made(group: str, node: Mapping[str, Any], base: type | None = None) -> Any:
    """The object of a node that somebody may have written; the base is as of ``check``.

    Whatever folder that goes to, this process, which has more to do, stays where it is.
    """
    with contextlib.chdir("."):
        check(group, node, base)
        with quoted(group):
            return instantiate(node)


def check_call(
    group: str,
    target: Any,
    arguments: Any,
    given: Sequence[str] = (),
    defaults: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Refuses arguments by name that a class or function does not take, or lacks.

    What is ``given`` to it besides is not theirs to set. The defaults, asked for when a value is
    refused, stand in for those of the signature; an argument that is a dataclass comes as the
    arguments of that.
    """
    bounds.check(group, arguments, dict)
    parameters, prefix = _parameters(target), group and f"{group}."
    known = set(parameters) - {*given}
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name, value in arguments.items():
        key = f"{prefix}{name}"
        if name in known:
            hint, default = parameters[name].annotation, parameters[name].default
            if is_dataclass(hint):
                check_call(key, hint, value)
            elif not bounds.fits(value, hint):
                bounds.check(key, value, hint, defaults().get(name, default))
        elif not is_open or name in given:
            expected = one_of(known, "no hyperparameter")
            raise BadInput(key, expected, name, suggest(str(name), known))
    for name in known - {*arguments}:
        if parameters[name].default is inspect.Parameter.empty and not is_open:
            raise BadInput(prefix + name, "a value", "none at all")


@cache
def _parameters(target: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a class's constructor or of a function."""
    # Of a class itself the signature may be that of its metaclass.
    function = target.__init__ if inspect.isclass(target) else target
    if function is object.__init__:
        return {}
    try:
        found = inspect.signature(function, eval_str=True).parameters
    except Exception:  # a hint that only a type checker imports, or of a typo: none is evaluated
        found = inspect.signature(function).parameters
    return dict(list(found.items())[inspect.isclass(target) :])

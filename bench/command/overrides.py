"""What overrides ask for: their combinations, and what is refused before anything is composed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from bench.errors import BadInput, one_line

# What has a meaning here among Hydra's own settings.
OF_HYDRA = ("launcher", "sweeper.params", "searchpath", "mode", "job.name", "run.dir", "sweep.dir")
HELP = "See python -m bench --help."


def parse(argument: str, loader: ConfigLoader | None = None) -> Override:
    """An argument by Hydra's grammar; the loader knows the options of groups, for ``glob(...)``."""
    if argument.lstrip("+~")[:1] in ("", "="):  # Hydra takes it for a choice of its own
        raise BadInput("argument", "KEY=VALUE", argument, HELP)
    try:
        return OverridesParser.create(loader).parse_overrides([argument])[0]
    except HydraException as error:
        expected, do = "KEY=VALUE", HELP
        if "=" in argument:
            expected = "KEY=VALUE that Hydra can read"
            do = _what_to_do(argument.partition("=")[2], error)
        elif loader is not None and argument in loader.get_group_options("experiment"):
            do = f"Did you mean +experiment={argument}?"
        raise BadInput("argument", expected, argument, do) from error


def _what_to_do(value: str, error: HydraException) -> str:
    """What helps with a value that is none by Hydra's grammar."""
    if (said := error.__cause__) is not None:  # of one of its functions, in a line for each part
        return f"{one_line(said).rstrip('.')}."
    if not all(part.strip() for part in value.split(",")):
        return "A value is missing beside a comma."
    return "Special characters need Hydra's quotes beside the shell's: KEY=\"'VALUE'\"."


def text(override: Override) -> str:
    """The override as it was typed."""
    return str(override.input_line)


def refusal(override: Override, expected: str, do: str = "") -> BadInput:
    """What is wrong with an override; what came is what was typed behind the key."""
    return BadInput(override.key_or_group, expected, text(override).partition("=")[2], do)


def combinations(overrides: Sequence[Override]) -> Iterator[tuple[str, ...]]:
    """Every combination of values, each as overrides in their order; the last axis changes first.

    An axis that a later override of its key replaces keeps one value, which that one then changes.
    """
    last = {
        (o.key_or_group, o.package): o
        for o in overrides
        if not o.is_delete() and not isinstance(o.value(), dict)
    }
    axes = []
    for override in overrides:
        kept = last.get((override.key_or_group, override.package), override)
        values = _values(override)
        axes.append(values if kept is override else values[:1])
    return itertools.product(*axes)


def _values(override: Override) -> list[str]:
    """The values that an override asks for, one unless it is a sweep, as overrides of their own."""
    if not override.is_sweep_override():
        return [text(override)]
    if any(isinstance(value, Glob) for value in getattr(override.value(), "list", ())):
        raise refusal(override, "names, or glob(...) alone", "Try glob([A,B*]).")
    key = override.get_key_element()
    try:
        values = [f"{key}={value}" for value in override.sweep_string_iterator()]
    except (HydraException, ValueError) as error:  # an interval, or a glob where two versions run
        raise refusal(override, "values by name, or a range of them with a step") from error
    if not values:
        raise refusal(override, "at least one value")
    return values


def refuse_of_hydra(overrides: Sequence[Override]) -> None:
    """Refuses sweeps over what a command has one of, and settings of Hydra without an effect."""
    for override in overrides:
        key = override.key_or_group
        if key == "hydra":
            raise BadInput("hydra", "hydra.KEY=VALUE", text(override))
        if not override.is_hydra_override() and key != "experiment":
            continue
        if override.is_sweep_override():
            raise refusal(override, "one value for the whole sweep")
        name = key.replace("/", ".").removeprefix("hydra.")
        if key != "experiment" and not any(f"{name}.".startswith(f"{one}.") for one in OF_HYDRA):
            expected = f"a setting of Hydra that the harness follows ({', '.join(OF_HYDRA)})"
            do = "out=DIR names the folder of a sweep, and cells start in the current one."
            raise refusal(override, expected, do)


def refuse_command(overrides: Sequence[Override]) -> None:
    """Refuses what a command has one of among the overrides of an experiment's cells."""
    for override in overrides:
        if override.is_hydra_override() or override.key_or_group in ("experiment", "cases"):
            do = "That is for the command line."
            raise BadInput("cases", "overrides of cells", text(override), do)


def refuse_sweep(overrides: Sequence[Override]) -> None:
    """Refuses several values where one cell was asked for."""
    for override in overrides:
        if override.is_sweep_override():
            raise refusal(override, "one value for a single cell", "Add -m to sweep over several.")

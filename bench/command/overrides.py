"""What overrides mean once they are parsed: which combinations they ask for, and what each sets.

Hydra's rules: the options of groups are chosen first, then values are set in the order in which
they were typed, so the last one counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from bench.errors import BadInput, one_of, suggest

# What has a meaning here among Hydra's own settings.
OF_HYDRA = (
    "launcher",
    "sweeper.params",
    "searchpath",
    "mode",
    "help",
    "hydra_help",
    "job.name",
    "run.dir",
    "sweep.dir",
)


def text(override: Override) -> str:
    """The override as it was typed."""
    return str(override.input_line)


def values(override: Override) -> list[str]:
    """The values that an override asks for, one unless it is a sweep, as overrides of their own.

    Raises:
        BadInput: for an interval, which has no finite list of points.
    """
    if not override.is_sweep_override():
        return [text(override)]
    if not override.is_discrete_sweep():
        raise BadInput(
            override.key_or_group,
            "a list of values, range(...) or glob(...)",
            text(override),
            "An interval has no finite list of points.",
        )
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def combinations(overrides: Sequence[Override]) -> Iterator[list[str]]:
    """Every combination of values, each as overrides in their order.

    An axis that a later override of its key replaces has one value left, which that one then
    changes; the later one keeps its place among the axes.
    """
    last = {
        (o.key_or_group, o.package): o
        for o in overrides
        if not o.is_delete() and not isinstance(o.value(), dict)
    }
    axes = {id(o): values(o) for o in last.values() if o.is_sweep_override()}
    first = {id(o): axes.get(id(o), values(o))[:1] for o in overrides}
    for chosen in itertools.product(*axes.values()):
        point = {**first, **{axis: [value] for axis, value in zip(axes, chosen, strict=True)}}
        yield [value for o in overrides for value in point[id(o)]]


def apply(config: DictConfig, override: Override) -> None:
    """Sets, adds or deletes one value of a composed configuration.

    Raises:
        BadInput: for a key that is not there, or that ``+`` would add a second time.
    """
    key, value = override.key_or_group, override.value()
    if override.package is not None:
        raise BadInput(text(override), "a group before @", key)
    try:
        found = OmegaConf.select(config, key, throw_on_missing=False)
        if override.is_delete():
            _delete(config, key, found, value)
        elif override.is_add() and found is not None and not isinstance(value, dict | list):
            raise BadInput(
                key,
                f"{key}=VALUE",
                "+ before a key that exists",
                "++ sets a key whether it exists or not.",
            )
        else:
            OmegaConf.update(
                config, key, value, force_add=override.is_add() or override.is_force_add()
            )
    except OmegaConfBaseException as error:
        _refuse_unknown(config, key)
        raise BadInput(
            key,
            "a value that fits its place",
            text(override),
            f"{str(error).splitlines()[0].rstrip('.')}.",
        ) from error


def _delete(config: DictConfig, key: str, found: object, value: object) -> None:
    _refuse_unknown(config, key)
    if found is None:
        raise BadInput(key, f"{key}=VALUE", f"~{key}", "What is null cannot be left out.")
    if value not in (None, found):
        raise BadInput(f"~{key}", f"its value, which is {found}", str(value))
    parent, _, name = key.rpartition(".")
    with open_dict(config):
        del (OmegaConf.select(config, parent) if parent else config)[name]


def _refuse_unknown(config: DictConfig, key: str) -> None:
    """Names the first part of a dotted key that the configuration does not have."""
    node: object = config
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            options = {str(k) for k in node} if isinstance(node, DictConfig) else set()
            options -= {"hydra", "cases", "_target_"}
            raise BadInput(key, one_of(options, "no hyperparameter"), part, suggest(part, options))
        node = node[part]


def refuse_of_hydra(overrides: list[Override]) -> None:
    """Refuses sweeps over Hydra's own settings, and those that nothing here would follow."""
    for override in overrides:
        key = override.key_or_group
        if key == "hydra":
            raise BadInput("hydra", "hydra.KEY=VALUE", text(override))
        if not override.is_hydra_override():
            continue
        if override.is_sweep_override():
            raise BadInput(key, "one value for the whole sweep", text(override).split("=", 1)[1])
        name = key.replace("/", ".").removeprefix("hydra.")
        if not any(f"{name}.".startswith(f"{one}.") for one in OF_HYDRA):
            raise BadInput(
                key,
                f"a setting of Hydra that the harness follows ({', '.join(OF_HYDRA)})",
                text(override).partition("=")[2],
                "out=DIR names the folder of a sweep, and cells start in the current one.",
            )


def refuse_command(overrides: list[Override]) -> None:
    """Refuses what a command has one of among the overrides of an experiment's cells."""
    for override in overrides:
        if override.is_hydra_override() or override.key_or_group in ("experiment", "cases"):
            raise BadInput(
                "cases", "overrides of cells", text(override), "That is for the command line."
            )


def refuse_sweep(overrides: list[Override]) -> None:
    """Refuses several values where one cell was asked for."""
    for override in overrides:
        if override.is_sweep_override():
            raise BadInput(
                override.key_or_group,
                "one value for a single cell",
                text(override).split("=", 1)[1],
                "Add -m to sweep over several.",
            )

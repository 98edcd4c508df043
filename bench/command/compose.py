"""From command-line arguments to the composed points of a sweep.

Hydra is used as a library, by its public face: its parser, its search path and its composition.
Every point is composed and checked before anything runs, and the points are then handed to the
harness' own loop, which interleaves repeats and resumes.
"""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from bench.command.hydra_start import CONF, VERSION, of_hydra, start_anew
from bench.command.overrides import (
    apply,
    combinations,
    refuse_command,
    refuse_of_hydra,
    refuse_sweep,
    text,
)
from bench.errors import BadInput, one_of, suggest
from bench.sweep.cell import GROUPS

_PLAIN_KEY = re.compile(r"[+~]{0,2}[\w/@.]+", re.ASCII)
# What means something between double quotes in a shell, ends a quoted value, or makes a list.
_NOT_IN_QUOTES = re.compile(r"[\"'\\$`!\[{,]")

# Groups whose values are names of options, and those of them that take several.
LISTED = ("metric", "plot")
NAMED = (*GROUPS, *LISTED, "experiment", "hydra/launcher")


@dataclass(frozen=True)
class Point:
    """One composed point: plain configuration, and options chosen."""

    config: dict[str, Any]
    choices: dict[str, str]


class Composer:
    """Composes points against ``conf/`` and the folders the user adds to the search path.

    Attributes:
        launcher: name and settings of the launcher that the points' command asked for.
    """

    def __init__(self, config_dir: str | None = None) -> None:
        if config_dir is not None and not Path(config_dir).is_dir():
            raise BadInput("--config-dir", "a folder of YAML files", config_dir)
        start_anew(Path(config_dir).resolve() if config_dir else None)
        # An absolute path: a relative one is resolved against modules, and a foreign package named
        # conf would silently replace the configuration.
        initialize_config_dir(str(CONF), job_name="bench", version_base=VERSION)
        # One moment for all cells; Hydra's own is that of each composition.
        OmegaConf.register_new_resolver("now", datetime.datetime.now().strftime, replace=True)
        OmegaConf.register_new_resolver("hydra", of_hydra, replace=True)
        self._loader = GlobalHydra.instance().config_loader()
        self._searchpath: list[str] = []
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self.launcher: tuple[str, dict[str, Any]] = ("basic", {})
        self._parsed = cache(self._parse_one)
        self._is_group = cache(lambda key: bool(self.options(key)))

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Every setting of a cell as the YAML files have it."""
        return {str(key): value for key, value in self._base(()).items_ex(resolve=False)}

    def points(self, arguments: list[str], multirun: bool) -> Iterator[Point]:
        """Every point the arguments ask for, in the order of the sweep.

        Args:
            arguments: Hydra overrides, as typed.
            multirun: whether ``-m`` was given; a shipped experiment needs none.

        Raises:
            BadInput: on anything Hydra refuses, in one sentence.
        """
        try:
            yield from self._points(arguments, multirun)
        except (OmegaConfBaseException, HydraException) as error:
            # An interpolation that leads nowhere is found where its value is first read.
            raise self._friendly(error) from error

    def _points(self, arguments: list[str], multirun: bool) -> Iterator[Point]:
        overrides = self._parse(arguments)
        refuse_of_hydra(overrides)
        self._searchpath = [text(o) for o in overrides if o.key_or_group == "hydra.searchpath"][-1:]
        overrides = [o for o in overrides if o.key_or_group != "hydra.searchpath"]
        chosen = [o for o in overrides if o.key_or_group == "experiment"]
        if len(chosen) > 1 or any(o.is_delete() or o.is_sweep_override() for o in chosen):
            raise BadInput("experiment", "one experiment", " ".join(map(text, chosen)))
        rest = [o for o in overrides if o not in chosen]
        experiment = text(chosen[0]).partition("=")[2] if chosen else None
        if chosen and not experiment:
            raise self._no_option("experiment", "")
        fixed = [f"+experiment={experiment}"] if experiment else []
        base = self._base(
            (
                *fixed,
                *(text(o) for o in rest if not o.is_sweep_override() and self._is_structural(o)),
            )
        )
        sweeps = multirun or bool(experiment) or base.hydra.mode == RunMode.MULTIRUN
        self.launcher = _launcher(base)
        params = base.hydra.sweeper.get("params") or {}
        axes = self._parse([f"{key}={value}" for key, value in params.items()])
        cases = self._cases(base)
        if not sweeps:
            refuse_sweep([*axes, *rest])
        # The experiment's axes come first, then its case's, then what was typed over them.
        for case in cases or [""]:
            own = [*axes, *self._parse(case.split())]
            refuse_command(own)
            overrides = [*own, *rest]
            for combination in combinations(overrides):
                yield self._point([*fixed, *combination], experiment, sweeps)

    def _cases(self, base: DictConfig) -> list[str]:
        """Overrides of each case, which may be several with spaces between them."""
        cases = _plain(base.cases)
        if not isinstance(cases, list | None) or not all(isinstance(c, str) for c in cases or []):
            raise BadInput("cases", "a list of overrides", str(cases))
        return cases or []

    def _point(self, texts: list[str], experiment: str | None, sweeps: bool) -> Point:
        overrides = self._parse(texts)
        structural = [o for o in overrides if self._is_structural(o)]
        config = copy.deepcopy(self._base(tuple(map(text, structural))))
        for override in overrides:
            if override not in structural:
                apply(config, override)
        chosen = config.hydra.runtime.choices
        for group in GROUPS:
            if group not in chosen:
                raise BadInput(group, one_of(self.options(group)), f"~{group}")
        choices = {group: str(chosen[group]) for group in GROUPS}
        try:
            _tell(config, overrides)
            folder = str((config.hydra.sweep if sweeps else config.hydra.run).dir)
            settings = {
                str(key): _plain(value)
                for key, value in config.items()
                if key not in ("hydra", "cases")
            }
        except Exception as error:
            # Of Hydra's own settings a wrong type raises whatever the code that reads them does.
            raise self._friendly(error) from error
        if experiment and settings.get("experiment"):
            raise BadInput(
                f"experiment/{experiment}.yaml",
                "# @package _global_ as its first line",
                "settings of an experiment, not of its cells",
            )
        if folder != ".":
            settings["out"] = _folder(settings.get("out"), folder)
        if experiment:
            _drop_settings(settings, overrides)
        return Point({**settings, "experiment": experiment}, choices)

    def _is_structural(self, override: Override) -> bool:
        """Whether an override belongs to the composition, as options of groups do.

        All others set values in what was composed.
        """
        key = override.key_or_group
        return (
            override.is_hydra_override()
            or key == "cases"
            or (self._is_group(key) and not isinstance(override.value(), dict))
        )

    def groups(self) -> list[str]:
        """Names of the groups, Hydra's own left out."""
        return [name for name in sorted(self._loader.list_groups("")) if name != "hydra"]

    def options(self, group: str) -> list[str]:
        """Names that a group can be set to."""
        return list(self._loader.get_group_options(group, overrides=self._searchpath))

    def _parse(self, arguments: Iterable[str]) -> list[Override]:
        return [self._parsed(argument) for argument in arguments]

    def _parse_one(self, argument: str) -> Override:
        try:
            return OverridesParser.create(self._loader).parse_overrides([argument])[0]
        except HydraException as error:
            raise self._unparsed(argument) from error

    def _unparsed(self, argument: str) -> BadInput:
        """What to type instead of an argument that Hydra's grammar does not have."""
        key, equals, value = argument.partition("=")
        if not equals:
            meant = argument in self.options("experiment")
            return BadInput(
                "argument",
                "KEY=VALUE",
                argument,
                f"Did you mean +experiment={argument}?" if meant else "See python -m bench --help.",
            )
        if _PLAIN_KEY.fullmatch(key) and not _NOT_IN_QUOTES.search(value):
            return BadInput(
                key,
                "a value that Hydra can read",
                value,
                f"It needs quotes of its own: {key}=\"'{value}'\".",
            )
        return BadInput(
            "argument",
            "KEY=VALUE that Hydra can read",
            argument,
            "Hydra needs quotes around special characters, beside the shell's: KEY=\"'VALUE'\".",
        )

    def _base(self, overrides: tuple[str, ...]) -> DictConfig:
        """What these options compose to; not to be changed. A composition takes 0.1 s."""
        if overrides not in self._bases:
            parsed = self._parse(overrides)
            for override in parsed:
                self._refuse_no_name(override)
            try:
                self._bases[overrides] = compose(
                    "config", [*self._searchpath, *overrides], return_hydra_config=True
                )
            except Exception as error:
                # As above. What is wrong with a value is said better by setting it here.
                set_ = [o for o in parsed if not self._is_group(o.key_or_group)]
                if set_:
                    options = self._base(tuple(text(o) for o in parsed if o not in set_))
                    for override in set_:
                        apply(copy.deepcopy(options), override)
                raise self._friendly(error) from error
        return self._bases[overrides]

    def _refuse_no_name(self, override: Override) -> None:
        """Refuses ``algo=null`` and ``metric=3``: a group takes names of its options."""
        group = override.key_or_group
        if group not in NAMED or override.is_delete():
            return
        value = override.value()
        names = value if isinstance(value, list) and group in LISTED else [value]
        if not all(isinstance(name, str | QuotedString) for name in names):
            options = self.options(group)
            raise BadInput(
                group,
                f"[NAME,...] of {', '.join(options)}" if group in LISTED else one_of(options),
                text(override).split("=", 1)[1],
            )

    def _friendly(self, error: Exception) -> BadInput:
        """Hydra's complaint in the form of the harness, with the closest name that exists."""
        if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
            group, _, name = str(error.missing_cfg_file).rpartition("/")
            return self._no_option(group, name)
        # Hydra wraps what a YAML file raised, sometimes in an error without a word.
        while not str(error) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
            mark = error.problem_mark
            return BadInput(
                f"{mark.name}, line {mark.line + 1}",
                "YAML",
                f"a mistake {error.context or 'there'} ({error.problem})",
            )
        words = [
            (str(e).strip() or type(e).__name__).replace(":\n", ": ").splitlines()[0]
            for e in (error, error.__cause__)
            if e is not None
        ]
        return BadInput(
            "configuration",
            "values that Hydra can compose",
            ": ".join(word.rstrip(".") for word in words),
        )

    def _no_option(self, group: str, name: str) -> BadInput:
        options = self.options(group)
        return BadInput(group, one_of(options), name, suggest(name, options))


def _plain(value: Any) -> Any:
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    # A cell's process gets it as JSON, whose keys are text.
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _tell(config: DictConfig, overrides: list[Override]) -> None:
    """Tells Hydra's own settings of the overrides that were applied after the composition."""
    typed = [o for o in overrides if not o.is_hydra_override()]
    job, form = config.hydra.job, config.hydra.job.config.override_dirname
    config.hydra.overrides.task = [text(o) for o in typed]
    job.override_dirname = form.item_sep.join(
        sorted(
            text(o).replace("=", form.kv_sep)
            for o in typed
            if o.key_or_group not in form.exclude_keys
        )
    )


def _launcher(base: DictConfig) -> tuple[str, dict[str, Any]]:
    if not isinstance(base.hydra.launcher, DictConfig):
        raise BadInput("hydra.launcher", "settings", str(base.hydra.launcher))
    settings = OmegaConf.to_container(base.hydra.launcher, resolve=True)
    assert isinstance(settings, dict)
    return (
        str(base.hydra.runtime.choices["hydra/launcher"]),
        {str(name): value for name, value in settings.items()},
    )


def _folder(out: Any, hydra: str) -> str:
    """What ``hydra.run.dir`` or ``hydra.sweep.dir`` names is what ``out`` does."""
    if out not in (None, hydra):
        raise BadInput(
            "out",
            f"the folder that Hydra's setting names, {hydra}",
            str(out),
            "Give one of the two.",
        )
    return hydra


def _drop_settings(config: dict[str, Any], overrides: list[Override]) -> None:
    """Drops what an experiment sets of metrics that somebody else's ``metric=`` does not name."""
    asked = [
        o.value()
        for o in overrides
        if o.key_or_group == "metric" and not isinstance(o.value(), dict)
    ]
    if asked:
        named = asked[-1] if isinstance(asked[-1], list) else [asked[-1]]
        config["metric"] = {
            name: metric
            for name, metric in config["metric"].items()
            if name in named or "_target_" in metric
        }

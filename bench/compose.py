"""From command-line arguments to the composed points of a sweep.

Hydra is used as a library: its parser, its search path and its composition. Every point is composed
and checked before anything runs, and the points are then handed to the harness' own loop, which
interleaves repeats and resumes.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from yaml import MarkedYAMLError

from bench.cell import GROUPS
from bench.errors import BadInput, one_of, suggest

CONF = Path(__file__).resolve().parents[1] / "conf"

# An option that names a group, or adds or removes a default, needs a composition of its own.
_STRUCTURAL = re.compile(r"^[+~]|^hydra[./]|@|/")
_PLAIN_KEY = re.compile(r"[+~]{0,2}[\w/@.]+", re.ASCII)
# What means something between double quotes in a shell, ends a quoted value, or makes a list.
_NOT_IN_QUOTES = re.compile(r"[\"'\\$`!\[{,]")

# Groups whose values are names of options, and those of them that take several.
LISTED = ("metric", "plot")
NAMED = (*GROUPS, *LISTED, "experiment", "hydra/launcher")


@dataclass(frozen=True)
class Point:
    """One composed point: plain configuration, options chosen, experiment (or None)."""

    config: dict[str, Any]
    choices: dict[str, str]
    experiment: str | None


class Composer:
    """Composes points against ``conf/`` and the folders the user adds to the search path.

    Attributes:
        launcher: name and settings of the launcher that the points' command asked for.
    """

    def __init__(self, config_dir: str | None = None) -> None:
        GlobalHydra.instance().clear()
        forget_other_launchers()
        # An absolute path: a relative one is resolved against modules, and a foreign package named
        # conf would silently replace the configuration.
        path = create_config_search_path(str(CONF))
        if config_dir is not None:
            if not Path(config_dir).is_dir():
                raise BadInput("--config-dir", expected="a folder of YAML files", came=config_dir)
            # Hydra wants its own schema source to stay last.
            path.prepend("command-line", f"file://{Path(config_dir).resolve()}",
                         SearchPathQuery(provider="schema", path=None))
        self._hydra = Hydra.create_main_hydra2(task_name="bench", config_search_path=path)
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self.launcher: tuple[str, dict[str, Any]] = ("basic", {})

    @cached_property
    def known(self) -> set[str]:
        """Top-level keys of a configuration."""
        return {str(key) for key in self._compose([])} - {"hydra", "cases"}

    def points(self, arguments: list[str], multirun: bool) -> Iterator[Point]:
        """Every point the arguments ask for, in the order of the sweep.

        Args:
            arguments: Hydra overrides, as typed.
            multirun: whether ``-m`` was given; a shipped experiment needs none.

        Raises:
            BadInput: on anything Hydra refuses, in one sentence.
        """
        overrides = self._parse(arguments)
        _refuse_launchers(overrides)
        experiments = [o for o in overrides if o.key_or_group == "experiment"]
        if len(experiments) > 1 or any(o.is_delete() for o in experiments):
            raise BadInput("experiment", expected="one experiment",
                           came=" ".join(map(_text, experiments)))
        for experiment in _choices(experiments[0]) if experiments else [None]:
            if experiment == "":
                raise self._no_option("experiment", experiment)
            fixed = [f"+experiment={experiment}"] if experiment else []
            rest = [o for o in overrides if o.key_or_group != "experiment"]
            if not multirun and not experiment:
                _refuse_sweep(rest)
            for swept in self._swept(fixed, rest):
                for combination in itertools.product(*swept.values()):
                    yield self._point([*fixed, *combination], experiment)

    def _swept(self, fixed: list[str], rest: list[Override]) -> Iterator[dict[str, list[str]]]:
        """Choices per key, for each of the experiment's cases (one when it has none).

        The experiment's axes come first, then its case's, then what was typed over them.
        """
        chosen = [_text(o) for o in rest if not o.is_sweep_override()]
        base = self._compose([*fixed, *[o for o in chosen if self._is_structural(o)]])
        if not isinstance(base.hydra.launcher, DictConfig):
            raise BadInput("hydra.launcher", expected="settings", came=str(base.hydra.launcher))
        settings = OmegaConf.to_container(base.hydra.launcher, resolve=True)
        assert isinstance(settings, dict)
        self.launcher = (str(base.hydra.runtime.choices["hydra/launcher"]),
                         {str(name): value for name, value in settings.items()})
        params = base.hydra.sweeper.get("params") or {}
        axes = self._parse([f"{key}={value}" for key, value in params.items()])
        if base.cases is not None and not isinstance(base.cases, ListConfig):
            raise BadInput("cases", expected="a list of overrides", came=str(base.cases))
        for case in base.cases or [""]:
            overrides = [*axes, *self._parse(str(case).split()), *rest]
            yield {o.get_key_element(): _expanded(o) for o in overrides}

    def _point(self, overrides: list[str], experiment: str | None) -> Point:
        structural = tuple(o for o in overrides if self._is_structural(o))
        if structural not in self._bases:
            self._bases[structural] = self._compose(list(structural))
        config = copy.deepcopy(self._bases[structural])
        values = self._parse([o for o in overrides if o not in structural])
        try:
            ConfigLoaderImpl._apply_overrides_to_config(values, config)
            runtime = config.hydra.runtime.choices
            choices = {group: str(runtime[group]) for group in GROUPS}
            OmegaConf.set_struct(config, False)
            config.pop("hydra")
            config.pop("cases")
            plain = OmegaConf.to_container(config, resolve=True)
        except Exception as error:
            # Of Hydra's own settings a wrong type raises whatever the code that reads them does.
            raise self._friendly(error, overrides) from error
        assert isinstance(plain, dict)
        settings = {str(k): v for k, v in plain.items()}
        if experiment:
            _drop_settings(settings, self._parse(overrides))
        return Point({**settings, "experiment": experiment}, choices, experiment)

    def _is_structural(self, override: str) -> bool:
        key = override.split("=", 1)[0]
        return bool(_STRUCTURAL.search(key)) or key in (*GROUPS, *LISTED, "cases")

    def _parse(self, arguments: list[str]) -> list[Override]:
        parser = OverridesParser.create(config_loader=self._hydra.config_loader)
        parsed = []
        for argument in arguments:
            try:
                parsed += parser.parse_overrides([argument])
            except HydraException as error:
                raise self._unparsed(argument) from error
        return parsed

    def _unparsed(self, argument: str) -> BadInput:
        """What to type instead of an argument that Hydra's grammar does not have."""
        key, equals, value = argument.partition("=")
        if not equals:
            meant = argument in self._hydra.config_loader.get_group_options("experiment")
            return BadInput("argument", expected="KEY=VALUE", came=argument,
                            do=f"Did you mean +experiment={argument}?" if meant
                            else "See python -m bench --help.")
        if _PLAIN_KEY.fullmatch(key) and not _NOT_IN_QUOTES.search(value):
            return BadInput(key, expected="a value that Hydra can read", came=value,
                            do=f"It needs quotes of its own: {key}=\"'{value}'\".")
        return BadInput("argument", expected="KEY=VALUE that Hydra can read", came=argument,
                        do="Hydra needs quotes around special characters, beside the shell's: "
                           "KEY=\"'VALUE'\".")

    def _compose(self, overrides: list[str]) -> DictConfig:
        for override in self._parse(overrides):
            self._refuse_no_name(override)
        try:
            return self._hydra.compose_config(
                config_name="config", overrides=overrides, run_mode=RunMode.RUN,
                with_log_configuration=False, from_shell=False,
            )
        except Exception as error:
            # As above.
            raise self._friendly(error, overrides) from error

    def _refuse_no_name(self, override: Override) -> None:
        """Refuses ``algo=null`` and ``metric=3``: a group takes names of its options."""
        group = override.key_or_group
        if group not in NAMED or override.is_delete():
            return
        value = override.value()
        names = value if isinstance(value, list) and group in LISTED else [value]
        if not all(isinstance(name, str | QuotedString) for name in names):
            options = self._hydra.config_loader.get_group_options(group)
            raise BadInput(group, expected=f"[NAME,...] of {', '.join(options) or 'your own'}"
                           if group in LISTED else one_of(options),
                           came=_text(override).split("=", 1)[1])

    def _friendly(self, error: Exception, overrides: list[str]) -> BadInput:
        """Hydra's complaint in the form of the harness, with the closest name that exists."""
        if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
            group, _, name = str(error.missing_cfg_file).rpartition("/")
            return self._no_option(group, name)
        # Hydra wraps what a YAML file raised, sometimes in an error without a word.
        while not str(error) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
            mark = error.problem_mark
            return BadInput(f"{mark.name}, line {mark.line + 1}", expected="YAML",
                            came=f"a mistake {error.context or 'there'} ({error.problem})")
        text = str(error)
        key = re.search(r"Could not (?:override|append|delete)[^']*'([^'@=]+)", text)
        if isinstance(error, ConfigCompositionException) and key is not None:
            return self._unknown_key(key[1], text, overrides)
        return BadInput("configuration", expected="values that Hydra can compose",
                        came=(text.strip() or type(error).__name__).splitlines()[0].rstrip("."))

    def _no_option(self, group: str, name: str) -> BadInput:
        options = self._hydra.config_loader.get_group_options(group)
        return BadInput(group, expected=one_of(options), came=name, do=suggest(name, options))

    def _unknown_key(self, key: str, text: str, overrides: list[str]) -> BadInput:
        """The first part of a dotted key that the chosen options do not have."""
        chosen = [o for o in overrides if self._is_structural(o) and key not in o.split("=", 1)[0]]
        node: Any = self._compose(chosen)
        for part in key.split("."):
            if isinstance(node, DictConfig) and part in node:
                node = node[part]
                continue
            options = {str(k) for k in node} if isinstance(node, DictConfig) else set()
            options -= {"hydra", "cases", "_target_"}
            return BadInput(key, expected=one_of(options, "no hyperparameter"), came=part,
                            do=suggest(part, options))
        if "Could not delete" in text:
            return BadInput(key, expected=f"{key}=VALUE", came=f"~{key}",
                            do="What is null cannot be left out.")
        return BadInput(key, expected=f"{key}=VALUE", came="+ before a key that exists",
                        do=text.strip().splitlines()[0])


def forget_other_launchers() -> None:
    """Drops the schemas of Hydra's own launcher plug-ins that have the names of launchers here.

    Hydra would hold our settings against them, and they have others.
    """
    Plugins.instance()  # finds what is installed and lets it register
    registered = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
    for path in (CONF / "hydra" / "launcher").glob("*.yaml"):
        registered.pop(path.name, None)


def arguments_of(namespace: argparse.Namespace) -> list[str]:
    """The overrides typed, with ``experiment=NAME`` accepted for ``+experiment=NAME``."""
    return [f"+{a}" if a.startswith("experiment=") else a for a in namespace.overrides]


def _drop_settings(config: dict[str, Any], overrides: list[Override]) -> None:
    """Drops what an experiment sets of metrics that somebody else's ``metric=`` does not name."""
    asked = [o.value() for o in overrides if o.key_or_group == "metric"]
    if asked:
        named = asked[-1] if isinstance(asked[-1], list) else [asked[-1]]
        config["metric"] = {name: metric for name, metric in config["metric"].items()
                            if name in named or "_target_" in metric}


def _text(override: Override) -> str:
    return str(override.input_line)


def _choices(override: Override) -> list[str]:
    return [text.split("=", 1)[1] for text in _expanded(override)]


def _expanded(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [_text(override)]
    if not override.is_discrete_sweep():
        raise BadInput(override.key_or_group, expected="a list of values, range(...) or glob(...)",
                       came=_text(override), do="An interval has no finite list of points.")
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _refuse_launchers(overrides: list[Override]) -> None:
    for override in overrides:
        if override.key_or_group == "hydra/launcher":
            if override.is_sweep_override():
                raise BadInput("hydra/launcher", expected="one launcher for the sweep",
                               came=_text(override).split("=", 1)[1])
            if override.value() == "joblib":
                raise BadInput("hydra/launcher", expected="basic, submitit_local, submitit_slurm "
                               "or ray", came="joblib",
                               do="joblib runs points side by side in processes that it uses "
                                  "again, so neither their times nor their memory mean anything.")


def _refuse_sweep(overrides: list[Override]) -> None:
    for override in overrides:
        if override.is_sweep_override():
            raise BadInput(override.key_or_group, expected="one value for a single cell",
                           came=_text(override).split("=", 1)[1],
                           do="Add -m to sweep over several.")

"""From command-line arguments to the composed points of a sweep.

Hydra is used as a library, by its public face: its parser, its search path and its composition.
Every point is composed and checked before anything runs, and the points are then handed to the
harness' own loop, which interleaves repeats and resumes.
"""

from __future__ import annotations

import copy
import datetime
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.errors import MissingConfigException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError
from yaml import MarkedYAMLError

from bench.command import overrides
from bench.command.overrides import refusal, text
from bench.errors import BadInput, one_of, suggest
from bench.sweep import signals
from bench.sweep.cell import GROUPS

CONF = Path(__file__).resolve().parents[2] / "conf"
VERSION = "1.3"  # of Hydra, whose defaults apply

# Groups that take several of their options.
LISTED = ("metric", "plot")

YAML = (".yaml", ".yml")

_NOTHING = object()


class ConfigDir(SearchPathPlugin):
    """Puts the folder of ``--config-dir`` behind ``conf/`` on Hydra's search path."""

    folder: ClassVar[Path | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra as it starts."""
        if self.folder is not None:
            search_path.append("command-line", f"file://{self.folder}")


def start_anew(config_dir: Path | None = None) -> None:
    """Makes Hydra ready to start, with a folder to search behind ``conf/``.

    It would hold our launchers' settings against the schemas of plug-ins of the same names, which
    have others: those are taken out.
    """
    GlobalHydra.instance().clear()
    plugins = Plugins.instance()  # finds what is installed and lets it register
    if ConfigDir not in plugins.discover(SearchPathPlugin):
        plugins.register(ConfigDir)
    ConfigDir.folder = config_dir
    registered = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
    for path in (CONF / "hydra" / "launcher").glob("*.yaml"):
        registered.pop(path.name, None)


def _of_hydra(key: str, *, _root_: DictConfig) -> Any:
    """``${hydra:KEY}``, which is an error where only a running Hydra knows the value."""
    found = OmegaConf.select(_root_, f"hydra.{key}", default=_NOTHING)
    if found is _NOTHING:
        raise KeyError(f"hydra.{key} has no value here")
    return found


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
        if config_dir is not None and not (config_dir and Path(config_dir).is_dir()):
            raise BadInput("--config-dir", "a folder of YAML files", config_dir)
        start_anew(Path(config_dir).resolve() if config_dir else None)
        # An absolute path: a relative one is resolved against modules, and a foreign package named
        # conf would silently replace the configuration.
        initialize_config_dir(str(CONF), job_name="bench", version_base=VERSION)
        # One moment for all cells; Hydra's own is that of each composition.
        OmegaConf.register_new_resolver("now", datetime.datetime.now().strftime, replace=True)
        OmegaConf.register_new_resolver("hydra", _of_hydra, replace=True)
        self._loader = GlobalHydra.instance().config_loader()
        self.launcher: tuple[str, dict[str, Any]] = ("basic", {})
        self._parsed = cache(partial(overrides.parse, loader=self._loader))
        self._composed = cache(self._compose)
        self._is_group = cache(lambda key: bool(self.options(key)))

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Every setting of a cell as the YAML files have it."""
        return {str(key): value for key, value in self._composed(()).items_ex(resolve=False)}

    def groups(self) -> list[str]:
        """Names of the groups, Hydra's own left out."""
        return [name for name in sorted(self._loader.list_groups("")) if name != "hydra"]

    def options(self, group: str) -> list[str]:
        """Names that a group can be set to."""
        return list(self._loader.get_group_options(group))

    def points(self, arguments: Sequence[str], multirun: bool) -> Iterator[Point]:
        """Every point that overrides ask for, in the order of the sweep; an experiment needs no -m.

        What Hydra refuses is a BadInput.
        """
        try:
            yield from self._points(arguments, multirun)
        except BadInput:
            raise
        except Exception as error:
            if ended := signals.interruption(error):
                raise ended from None
            # A wrong type of one of Hydra's own settings raises whatever the code that reads it
            # does, and an interpolation that leads nowhere where its value is first read.
            raise self._friendly(error) from error

    def _points(self, arguments: Sequence[str], multirun: bool) -> Iterator[Point]:
        typed = [self._parsed(argument) for argument in arguments]
        overrides.refuse_of_hydra(typed)
        base = self._composed(
            tuple(text(o) for o in typed if self._chooses(o) and not o.is_sweep_override())
        )
        for source in base.hydra.runtime.config_sources:
            if source.schema == "file" and source.path != str(CONF):
                _refuse_shipped_names(Path(source.path))
        experiment = "experiment" in base.hydra.runtime.choices
        sweeps = multirun or experiment or base.hydra.mode == RunMode.MULTIRUN
        launcher = _plain(base.hydra.launcher)
        if not isinstance(launcher, dict):
            raise BadInput("hydra.launcher", "settings", str(launcher))
        self.launcher = (str(base.hydra.runtime.choices["hydra/launcher"]), launcher)
        axes = [f"{key}={value}" for key, value in (base.hydra.sweeper.get("params") or {}).items()]
        # The experiment's axes come first, then its case's, then what was typed over them.
        for case in _cases(base):
            own = [self._parsed(argument) for argument in [*axes, *case.split()]]
            overrides.refuse_command(own)
            if not sweeps:
                overrides.refuse_sweep([*own, *typed])
            for config in self._configs([*own, *typed]):
                yield self._point(config, sweeps)

    def _configs(self, asked: list[Override]) -> Iterator[DictConfig]:
        """The composed configuration of every combination.

        Hydra takes 0.1 s for one, so each choice of options is composed once and kept, and the
        values are set here.
        """
        for combination in overrides.combinations(asked):
            parsed = [self._parsed(argument) for argument in combination]
            values = [o for o in parsed if not self._chooses(o)]
            if any(o.is_hydra_override() for o in parsed) or not all(map(_is_plain, values)):
                values = []
            choices = tuple(text(o) for o in parsed if o not in values)
            config = copy.deepcopy(self._composed(choices))
            for override in values:
                OmegaConf.update(config, override.key_or_group, override.value())
            yield config

    def _point(self, config: DictConfig, sweeps: bool) -> Point:
        chosen = config.hydra.runtime.choices
        for group in GROUPS:
            if group not in chosen:
                raise BadInput(group, one_of(self.options(group)), f"~{group}")
        # A sweep's own first; where that is not set the other, which would else be ignored.
        run, sweep = str(config.hydra.run.dir), str(config.hydra.sweep.dir)
        first, second = (sweep, run) if sweeps else (run, sweep)
        folder = second if first == "." else first
        settings = {str(k): _plain(v) for k, v in config.items() if k not in ("hydra", "cases")}
        tune = settings.get("tune")
        if not isinstance(tune, dict):  # tune: 8, as an experiment may have it
            settings["tune"] = {**_plain(self.defaults["tune"]), "trials": tune}
        experiment, typed = chosen.get("experiment"), settings.get("experiment")
        if experiment and typed:
            expected = "# @package _global_ as its first line"
            came = "settings of an experiment, not of its cells"
            raise BadInput(f"experiment/{experiment}.yaml", expected, came)
        if folder != ".":
            # What hydra.run.dir or hydra.sweep.dir names is what out does.
            if settings.get("out") not in (None, folder):
                expected = f"the folder that Hydra's setting names, {folder}"
                raise BadInput("out", expected, str(settings["out"]), "Give one of the two.")
            settings["out"] = folder
        if settings.get("out") is not None and not str(settings["out"]).strip():
            # A variable of the shell that is not set, say.
            raise BadInput("out", "the name of a folder", "nothing", "Leave it out for runs/.")
        if experiment and any(o.startswith("metric=") for o in config.hydra.overrides.task):
            # What the experiment sets of metrics that somebody else's metric= does not name.
            settings["metric"] = {
                name: node
                for name, node in (settings.get("metric") or {}).items()
                if not isinstance(node, dict) or "_target_" in node
            }
        plain = {**settings, "experiment": typed or experiment}
        json.dumps(plain)  # a record holds nothing else
        return Point(plain, {group: str(chosen[group]) for group in GROUPS})

    def _chooses(self, override: Override) -> bool:
        """Whether an override belongs to the composition, as options of groups do."""
        key = override.key_or_group
        return (
            override.is_hydra_override()
            or key == "cases"
            or (self._is_group(key) and not isinstance(override.value(), dict))
        )

    def _compose(self, asked: tuple[str, ...]) -> DictConfig:
        """What these overrides compose to; not to be changed."""
        for override in map(self._parsed, asked):
            self._refuse_no_name(override)
        with warnings.catch_warnings():
            # A folder of hydra.searchpath that is not there.
            warnings.filterwarnings("error", message=".* is not available")
            return compose("config", list(asked), return_hydra_config=True)

    def _refuse_no_name(self, override: Override) -> None:
        """Refuses ``algo=null`` and ``metric=[work,work]``: a group takes names of its options."""
        group = override.key_or_group
        if override.is_delete() or not self._is_group(group) or not self._chooses(override):
            return
        value = override.value()
        if override.is_add() and group in (*GROUPS, *LISTED):
            typed = text(override)
            do = f"Without the plus: {group}={typed.partition('=')[2]}."
            raise BadInput(group, f"{group}=NAME, for every cell has one", typed, do)
        names = value if isinstance(value, list) and group in LISTED else [value]
        if not all(isinstance(name, str) for name in names):
            raise refusal(override, one_of(self.options(group)))
        if len(set(map(str, names))) < len(names):
            raise refusal(override, "each of its names once")
        # What Hydra reads as a file would be an option of another name.
        for name in map(str, names):
            path = PurePosixPath(name)
            if str(path) != name or path.is_absolute() or ".." in path.parts or path.suffix in YAML:
                options = self.options(group)
                raise BadInput(group, one_of(options), name, suggest(path.stem, options))

    def _friendly(self, error: BaseException) -> BadInput:
        """Hydra's complaint in the form of the harness, with the closest name that exists."""
        if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
            group, _, name = str(error.missing_cfg_file).rpartition("/")
            options = self.options(group)
            do = suggest(name, options) or _in_defaults(group)
            return BadInput(group, one_of(options), name, do)
        # Hydra wraps what a YAML file raised, sometimes in an error without a word.
        while not str(error) and error.__cause__ is not None:
            error = error.__cause__
        if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
            what = f"{error.problem_mark.name}, line {error.problem_mark.line + 1}"
            came = f"a mistake {error.context or 'there'} ({error.problem})"
            return BadInput(what, "YAML", came)
        if isinstance(error, UnicodeDecodeError) and (folder := ConfigDir.folder):
            alike = (f for f in folder.rglob("*.*") if f.suffix in YAML)
            file = next((f for f in alike if f.read_bytes() == error.object), folder)
            return BadInput(str(file), "YAML in UTF-8", f"{error.reason} at byte {error.start + 1}")
        unknown = error.__cause__ or error
        if isinstance(unknown, ConfigAttributeError | ConfigKeyError) and unknown.full_key:
            node, key = unknown.parent_node, str(unknown.key)
            known = {str(k) for k in node} if isinstance(node, DictConfig) else set()
            known -= {"hydra", "cases", "_target_"}
            expected, do = one_of(known, "no hyperparameter"), suggest(key, known)
            group = str(unknown.full_key).rpartition(".")[0]
            if group in LISTED and key in self.options(group):
                do = f"Choose it first, with {group}=[...,{key}]."
            elif not do and group.startswith("hydra."):
                expected, do = (
                    "a setting that is there",
                    f"To add it, write +{unknown.full_key}=VALUE.",
                )
            elif not do and (others := self._with(group, key)):
                do = (
                    f"It belongs to {', '.join(others)}: another command with the same out= "
                    "puts both in one report."
                )
            elif not do and isinstance(node, DictConfig) and "_target_" in node:
                do = f"If {node['_target_']} takes it, write +{unknown.full_key}=VALUE."
            return BadInput(str(unknown.full_key), expected, key, do)
        if isinstance(error, FileNotFoundError) and error.filename is None:  # os.getcwd
            return BadInput(
                "working directory", "one that is there", "a deleted one", "Use another."
            )
        said, *more = _lines(error)
        if error.__cause__ is not None:
            said = f"{said.rstrip('.')}: {_lines(error.__cause__)[0]}"
        do = " ".join(line for line in more if not line.startswith(" "))  # but no bookkeeping
        if stray := re.search("Could not override '(.*)@", said):
            do = do or _in_defaults(stray[1])
        what = getattr(error, "full_key", None) or "configuration"
        return BadInput(what, "values that Hydra can compose", said.rstrip("."), do)

    def _with(self, group: str, key: str) -> list[str]:
        """Options of a group that have a key."""
        if group not in GROUPS:
            return []
        return [o for o in self.options(group) if key in self._composed((f"{group}={o}",))[group]]


def _refuse_shipped_names(folder: Path) -> None:
    """Refuses options of somebody's own that the search path would never come to."""
    for shipped in sorted(CONF.glob("*/**/*.yaml")):
        file = folder / shipped.relative_to(CONF)
        if file.exists() and not file.samefile(shipped):
            do = "The shipped one would be taken: rename yours."
            raise BadInput(str(folder), "options of other names than the shipped ones", file, do)


def _in_defaults(group: str) -> str:
    """What the defaults list of an experiment, which is a folder of its own, has to name."""
    folder, _, name = group.rpartition("/")
    return f"In a defaults list: override /{name}: NAME." if folder == "experiment" else ""


def _lines(error: BaseException) -> list[str]:
    return (str(error).strip() or type(error).__name__).replace(":\n", ": ").splitlines()


def _is_plain(override: Override) -> bool:
    """Whether an override is ``KEY=VALUE`` with a single value, or a list."""
    plain = override.type is OverrideType.CHANGE and not override.package
    return plain and not isinstance(override.value(), dict)


def _plain(value: Any) -> Any:
    """A value without interpolations; of a node its lists and dictionaries."""
    if not OmegaConf.is_config(value):
        return value
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)


def _cases(base: DictConfig) -> list[str]:
    """Overrides of each case, which may be several with spaces between them."""
    cases = _plain(base.cases)
    if not isinstance(cases, list | None) or not all(isinstance(c, str) for c in cases or []):
        raise BadInput("cases", "a list of overrides", str(cases))
    return cases or [""]

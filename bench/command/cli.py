"""The command line: compose, check, then run; every bad input is one message and exit status 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import hydra

from bench import processes
from bench.command import help, plan, streams
from bench.command.compose import Composer
from bench.command.contest import Contest
from bench.command.hydra_start import CONF, VERSION, start_anew
from bench.command.trial import refuse_bad_values, trial, values_given
from bench.errors import BadInput
from bench.instantiate import check as check_arguments
from bench.instantiate import of_class
from bench.launchers.base import Launcher
from bench.sweep import jobs, sweep
from bench.sweep.cell import Cell, checked, one_for_all, told_apart
from bench.sweep.folder import Folder, default
from bench.sweep.tuning import tuning_of

BAD_INPUT = 2
BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE ended

# Hydra answers these by itself; none of them runs a cell.
HYDRA_FLAGS = ("hydra_help", "cfg", "info", "shell_completion")
OF_CFG = ("package", "resolve")  # go with --cfg

CHECK_USAGE = """\
usage: python -m bench check algo=NAME [algo.KEY=VALUE...] [--config-dir DIR]
       python -m bench check model=NAME [model.KEY=VALUE...] [n_hidden=N] [n_steps=T] [task=NAME]
       python -m bench check task=NAME [task.KEY=VALUE...] [n_steps=T] [n_hidden=N] [lr=VALUE]

An algorithm: the conformance suite, gradients against BPTT, batching, windows, units.
A model: its graph, what cannot be represented, and every algorithm's gradient beside BPTT's.
A task: a batch, what guessing reaches, and whether a GRU learns it in a minute.

Exit status: 0 every promise is kept, traces can train the model, the GRU learned the task; 1 not
so; 2 bad input."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the cells that the arguments ask for.

    Args:
        argv: arguments without the program's name; None reads the command line.

    Returns:
        0 when every cell is ok or skipped, 1 when some failed, 2 for bad input, 141 when what a
        command is there to print (``--help``, ``plan=true``) was not read to its end.
    """
    if argv is None:
        streams.prepare()
    return answer(sys.argv[1:] if argv is None else argv)


def printed(status: int = 0) -> int:
    """The status of a command that is there to print; not its own where that was lost."""
    lost = streams.lost(sys.stdout)
    if isinstance(lost, BrokenPipeError):
        return BROKEN_PIPE
    if lost is not None:
        print(f"error: output: {lost.strerror}", file=sys.stderr)
        return status or 1
    return status


def answer(argv: Sequence[str]) -> int:
    """Hydra's own flags, or the cells; a bad input becomes one message."""
    if "--version" in argv:
        print(f"etrace-bench {_version()}, Hydra {metadata.version('hydra-core')}")
        return printed()
    parser = _parser()
    try:
        # Plain parse_known_args takes no overrides behind an option once there were some before it.
        namespace, unknown = parser.parse_known_intermixed_args(list(argv))
        options = [argument for argument in argv if argument not in namespace.overrides]
        namespace.overrides = [_in_full(o) for o in namespace.overrides]
        checks = namespace.overrides[:1] == ["check"]
        if namespace.help:
            asked = (namespace.config_dir, namespace.overrides, namespace.multirun)
            print(CHECK_USAGE if checks else help.text(*asked))
            return printed()
        flags = [flag for flag in HYDRA_FLAGS if getattr(namespace, flag)]
        if flags and not checks:
            return by_hydra(options, namespace)
        if unknown:
            raise BadInput("argument", "KEY=VALUE", unknown[0], "See python -m bench --help.")
        for flag in [*flags, *(name for name in OF_CFG if getattr(namespace, name))]:
            raise BadInput(
                f"--{flag.replace('_', '-')}",
                "an option that goes with it",
                "none",
                "See python -m bench --help.",
            )
        if checks:
            return printed(check(namespace.config_dir, namespace.overrides[1:]))
        return run(namespace.config_dir, namespace.overrides, namespace.multirun)
    except argparse.ArgumentError as error:
        print(
            f"error: {error.argument_name}: {error.message}. --cfg job prints the configuration "
            "of a cell; see python -m bench --help.",
            file=sys.stderr,
        )
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
    return BAD_INPUT


def _in_full(override: str) -> str:
    """An override for Hydra in place of the short forms ``experiment=NAME`` and ``tune=N``."""
    if override.startswith("experiment="):
        return f"+{override}"
    key, _, value = override.partition("=")
    return f"tune.trials={value}" if key == "tune" and not value.startswith("{") else override


def _parser() -> argparse.ArgumentParser:
    """Hydra's options; an argument that is none of them is an override."""
    parser = argparse.ArgumentParser(
        "python -m bench", add_help=False, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("overrides", nargs="*")
    for short, name in (("-h", "help"), ("-m", "multirun"), ("-sc", "shell-completion")):
        parser.add_argument(f"--{name}", short, action="store_true")
    for name in ("hydra-help", "resolve"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    parser.add_argument(
        "--info",
        "-i",
        nargs="?",
        const="all",
        choices=["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"],
    )
    parser.add_argument("--package", "-p")
    parser.add_argument("--config-dir", "-cd")
    return parser


def by_hydra(options: Sequence[str], namespace: argparse.Namespace) -> int:
    """What Hydra answers by itself.

    Raises:
        BadInput: for flags that exclude each other, or overrides that cannot be composed.
    """
    if not namespace.shell_completion:
        # Its own messages would have another form.
        list(Composer(namespace.config_dir).points(namespace.overrides, namespace.multirun))
    start_anew()
    typed, sys.argv = sys.argv, [sys.argv[0], *options, *namespace.overrides]
    try:
        hydra.main(str(CONF), "config", VERSION)(_never_runs)()
    except ValueError as error:
        raise BadInput.quoting("options", f"{error}.") from error
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        sys.argv = typed
    return printed()


def _version() -> str:
    try:
        return metadata.version("etrace-bench")
    except metadata.PackageNotFoundError:
        return "of this folder, not installed"


def run(config_dir: str | None, overrides: list[str], multirun: bool) -> int:
    """Composes and checks every cell, then plans or runs them."""
    cells, launcher = _composed(config_dir, overrides, multirun)
    first = cells[0].config
    path = Path(first.out) if first.out else default(first.experiment, overrides)
    tuning = tuning_of(first.tune)
    contest = Contest(cells, tuning, path) if tuning else None
    cells = contest.first() if contest else cells
    given = values_given(overrides, config_dir)
    findings = trial(
        cells, "memory" if first.plan else "objects" if given else "task", tuned=contest is not None
    )
    refuse_bad_values(findings, ("task", "model", "algo") if given else ("task",))
    if first.plan:
        plan.show(
            cells,
            findings,
            Folder(path, anywhere=launcher is not None),
            elsewhere=launcher is not None and not launcher.here,
        )
        if contest is not None and tuning is not None:
            print(
                f"then {tuning.seeds} fresh seeds of each of {len(contest.ways)} ways, at the "
                f"best of its {tuning.trials} trials"
            )
        return printed()
    about = {
        "experiment": first.experiment or "",
        "question": first.question,
        "overrides": overrides,
        "plots": [node["_target_"] for node in first.plot.values()],
    }
    folder = Folder.open(path, anywhere=launcher is not None)
    runner = None if launcher is None else partial(jobs.launch, launcher)
    if contest is None:
        return sweep.run(cells, folder, about, runner)
    return sweep.run(cells, folder, about, contest.runner(runner), contest.finals)


# What a check may set beside the group that it looks at; the rest of a cell is its own.
CHECKED = {
    "algo": (),
    "model": ("n_hidden", "n_layers", "n_steps", "seed", "task"),
    "task": ("n_hidden", "n_steps", "batch_size", "seed", "lr"),
}


def check(config_dir: str | None, overrides: list[str]) -> int:
    """Puts an algorithm, a model or a task to the test.

    Raises:
        BadInput: when the overrides choose several, or set what the check has of its own.
    """
    keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
    kind = next((key for key in keys if key in CHECKED), "algo")
    for key, override in zip(keys, overrides, strict=True):
        if key.partition(".")[0] not in (kind, *CHECKED[kind]):
            more = f", {' '.join(CHECKED[kind])}" if CHECKED[kind] else ""
            raise BadInput(
                "check",
                f"{kind}=NAME, {kind}.KEY=VALUE{more}",
                override,
                "The rest of the cell is its own.",
            )
    own = {"task": ["model=gru", "algo=bptt", "epochs=1000"]}.get(kind, [])
    cell, *others = cells_of(
        config_dir, [*own, *_check_defaults(kind, keys), *overrides], multirun=True
    )
    if others:
        raise BadInput(
            "check",
            f"one {'algorithm' if kind == 'algo' else kind}",
            f"{1 + len(others)} cells",
            "Check one after the other.",
        )
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    check_arguments(kind, getattr(cell.config, kind))
    # Nothing else in this process needs jax, and importing it takes seconds.
    if kind == "algo":
        from bench.check import algorithm

        return algorithm.run(cell.config.algo, cell.choices["algo"])
    if kind == "model":
        from bench.check import model

        names = Composer(config_dir).options("algo")
        cells = cells_of(config_dir, [f"algo={','.join(names)}", *overrides], multirun=True)
        return model.run(
            cell.config, [(c.choices["algo"], c.config.algo) for c in cells], cell.choices["model"]
        )
    from bench.check import task

    return task.run(
        cell.config, cell.choices, cell.choices["task"], processes.memory_cap(cell.config.limits)
    )


def _check_defaults(kind: str, keys: list[str]) -> list[str]:
    """Of a check, unless they are set: what a GRU learns most tasks with; steps to look back at."""
    wanted = {"task": {"lr": "1e-2"}, "model": {"n_steps": "16", "n_hidden": "16"}}.get(kind, {})
    return [f"{key}={value}" for key, value in wanted.items() if key not in keys]


def cells_of(config_dir: str | None, overrides: list[str], multirun: bool) -> list[Cell]:
    """The checked cells of a command in the order they run, repeats included.

    Raises:
        BadInput: for the first thing that cannot be used.
    """
    return _composed(config_dir, overrides, multirun)[0]


def _composed(
    config_dir: str | None, overrides: list[str], multirun: bool
) -> tuple[list[Cell], Launcher | None]:
    composer = Composer(config_dir)
    cells = [
        checked(point.config, point.choices, composer.defaults)
        for point in composer.points(overrides, multirun)
    ]
    if not cells:
        raise BadInput("sweep", "at least one cell", "an empty list of values")
    one_for_all(cells)
    launcher = launcher_of(*composer.launcher)
    if launcher is None or launcher.here:
        sweep.refuse_missing_device(cells)
    return sweep.with_repeats(told_apart(cells)), launcher


def launcher_of(name: str, node: dict[str, Any]) -> Launcher | None:
    """What runs the jobs of a sweep; None when its cells run one after the other right here.

    Raises:
        BadInput: on settings that the launcher does not have, or when its library is missing.
    """
    if name == "basic":
        return None
    made: Launcher = of_class("hydra.launcher", node, Launcher)
    return made


def _never_runs(_: object) -> None:
    raise AssertionError("Hydra's own flags do not run a task")

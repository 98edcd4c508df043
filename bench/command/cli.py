"""The command line: compose, check, then run; every bad input is one message and exit status 2."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import hydra

from bench.child import at_home
from bench.command import help, plan, streams
from bench.command.compose import CONF, VERSION, Composer, start_anew
from bench.command.contest import Contest
from bench.command.trial import Depth, refuse_bad_values, trial, values_given
from bench.errors import BadInput, counted
from bench.instantiate import check as check_arguments
from bench.instantiate import made
from bench.launchers.base import Launcher
from bench.sweep import jobs, sweep
from bench.sweep.cell import Cell, checked, one_for_all, told_apart
from bench.sweep.folder import Folder, default
from bench.sweep.tuning import tuning_of

BAD_INPUT = 2

TRUE = ("1", "y", "yes", "t", "true", "on")  # of a variable that jax reads

# Hydra answers these by itself; none of them runs a cell.
HYDRA_FLAGS = ("hydra_help", "cfg", "info", "shell_completion")
SHELLS = ("bash", "fish", "zsh")

CHECK_USAGE = """\
usage: python -m bench check algo=NAME [algo.KEY=VALUE...] [--config-dir DIR]
       python -m bench check model=NAME [model.KEY=VALUE...] [n_hidden=N] [n_steps=T] [task=NAME]
       python -m bench check task=NAME [task.KEY=VALUE...] [n_steps=T] [n_hidden=N] [lr=VALUE]

An algorithm: the conformance suite, gradients against BPTT, batching, windows, units.
A model: its graph, what cannot be represented, and every algorithm's gradient beside BPTT's.
A task: a batch, what guessing reaches, and whether a GRU learns it in a minute.

Exit status: 0 every promise is kept, traces can train the model, the GRU learned the task; 1 not
so; 2 bad input."""

# What a check may set beside the group that it looks at, and what is set unless it is: of a model
# steps to look back at, of a task the rate that a GRU learns most of them with. The rest of a cell
# is its own.
CHECKED = {
    "algo": (),
    "model": ("n_hidden=16", "n_layers", "n_steps=16", "seed", "task"),
    "task": ("n_hidden", "n_steps", "batch_size", "seed", "lr=1e-2"),
}
LEARNER = ("model=gru", "algo=bptt", "epochs=1000")  # of a task


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the cells that the arguments ask for.

    Args:
        argv: arguments without the program's name; None reads the command line.

    Returns:
        0 when every cell is ok or skipped, 1 when some failed or would, 2 for bad input, 141 when
        what a command is there to print (``--help``, ``plan=true``) was not read to its end.
    """
    if argv is None:
        streams.prepare()
    try:
        return answer(sys.argv[1:] if argv is None else argv)
    except argparse.ArgumentError as error:
        do = "--cfg job prints the configuration of a cell; see python -m bench --help."
        said = f"{error.argument_name}: {error.message}. {do}"
    except BadInput as error:
        said = str(error)
    print(f"error: {said}", file=sys.stderr)
    return BAD_INPUT


def answer(argv: Sequence[str]) -> int:
    """What is asked for: some text, what Hydra answers by itself, a check, or cells."""
    # Plain parse_known_args takes no overrides behind an option once there were some before it.
    asked, unknown = _parser().parse_known_intermixed_args(list(argv))
    options = [argument for argument in argv if argument not in asked.overrides]
    overrides = [_in_full(override) for override in asked.overrides]
    checks = overrides[:1] == ["check"]
    if asked.version:
        print(f"etrace-bench {_version()}, Hydra {metadata.version('hydra-core')}")
    elif asked.help and checks:
        print(CHECK_USAGE)
    elif asked.help:
        print(help.text(asked.config_dir, overrides, asked.multirun))
    elif not checks and any(getattr(asked, flag) for flag in HYDRA_FLAGS):
        if asked.shell_completion:
            return completion(options, overrides)
        # Its own messages would have another form.
        list(Composer(asked.config_dir).points(overrides, asked.multirun))
        by_hydra([*options, *overrides])
    else:
        alone = [flag for flag in (*HYDRA_FLAGS, "package") if getattr(asked, flag)]
        for other in [*unknown, *(f"--{flag.replace('_', '-')}" for flag in alone)]:
            raise BadInput("argument", "KEY=VALUE", other, "See python -m bench --help.")
        if not checks:
            return run(asked.config_dir, overrides, asked.multirun)
        return streams.printed(check(asked.config_dir, overrides[1:]))
    return streams.printed()


def _in_full(override: str) -> str:
    """An override for Hydra in place of the short forms ``experiment=NAME`` and ``tune=N``."""
    if override.startswith("experiment="):
        return f"+{override}"
    key, _, value = override.partition("=")
    number = key.lstrip("+") == "tune" and not value.startswith("{")
    return f"{key}.trials={value}" if number else override


def _parser() -> argparse.ArgumentParser:
    """Our options and Hydra's; an argument that is none of them is an override."""
    parser = argparse.ArgumentParser(
        "python -m bench", add_help=False, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--hydra-help", action="store_true")
    parser.add_argument("--shell-completion", "-sc", action="store_true")
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    info = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=info)
    parser.add_argument("--package", "-p")
    parser.add_argument("--config-dir", "-cd")
    return parser


def completion(options: Sequence[str], overrides: Sequence[str]) -> int:
    """What a shell asks to complete a line, or what makes it ask; all of it is Hydra's."""
    verb, _, shell = " ".join(overrides).partition("=")
    queried = verb == "query" and "COMP_LINE" in os.environ
    if not (queried or verb in ("install", "uninstall")) or shell not in SHELLS:
        expected = f"install=SHELL or uninstall=SHELL of {', '.join(SHELLS)}"
        do = 'Try eval "$(etrace-bench --shell-completion install=bash)".'
        raise BadInput("--shell-completion", expected, " ".join(overrides), do)
    with contextlib.ExitStack() as quiet:
        if queried:  # what cannot be completed is no error
            quiet.enter_context(contextlib.suppress(SystemExit))
            quiet.enter_context(contextlib.redirect_stderr(io.StringIO()))
        by_hydra([*options, *overrides])
    return streams.printed()


def by_hydra(arguments: Sequence[str]) -> None:
    """What Hydra answers by itself, unless its flags exclude each other."""
    start_anew()
    typed, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        hydra.main(str(CONF), "config", VERSION)(lambda config: None)()
    except ValueError as error:
        raise BadInput.quoting("options", f"{error}.") from error
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        sys.argv = typed


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
    _refuse_idle(overrides, tuned=tuning is not None)
    cells = contest.first() if contest else cells
    given = values_given(overrides, config_dir)
    depth: Depth = "memory" if first.plan else "objects" if given else "task"
    findings = trial(cells, depth, tuned=contest is not None)
    refuse_bad_values(findings, ("task", "model", "algo") if given else ("task",))
    anywhere = launcher is not None
    if first.plan:
        elsewhere = launcher is not None and not launcher.here
        crash = plan.show(cells, findings, Folder(path, anywhere), elsewhere)
        if contest is not None and tuning is not None:
            print(
                f"then {counted(tuning.seeds * len(contest.ways), 'cell')}: "
                f"{counted(tuning.seeds, 'fresh seed')} of each way at the best of its "
                f"{counted(tuning.trials, 'trial')}. Cells that learn run side by side."
            )
        return streams.printed(1 if crash else 0)
    about = {
        "experiment": first.experiment or "",
        "question": first.question,
        "overrides": overrides,
        "plots": [node["_target_"] for node in first.plot.values()],
    }
    folder = Folder.open(path, anywhere)
    runner = None if launcher is None else partial(jobs.launch, launcher)
    if contest is None:
        return sweep.run(cells, folder, about, runner)
    return sweep.run(cells, folder, about, contest.runner(runner), contest.finals)


def check(config_dir: str | None, overrides: list[str]) -> int:
    """Puts an algorithm, a model or a task to the test."""
    keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
    kind = next((key for key in keys if key in CHECKED), "algo")
    own = {setting.partition("=")[0]: setting for setting in CHECKED[kind]}
    for key, override in zip(keys, overrides, strict=True):
        if key.partition(".")[0] not in (kind, *own):
            expected = " ".join([f"{kind}=NAME, {kind}.KEY=VALUE,", *own]).rstrip(",")
            raise BadInput("check", expected, override, "The rest of the cell is its own.")
    overrides = [s for key, s in own.items() if "=" in s and key not in keys] + overrides
    cell, *others = cells_of(
        config_dir, [*(LEARNER if kind == "task" else ()), *overrides], multirun=True
    )
    if others:
        one = f"one {'algorithm' if kind == 'algo' else kind}"
        raise BadInput("check", one, f"{1 + len(others)} cells", "Check one after the other.")
    with at_home({"JAX_PLATFORMS": "cpu", **os.environ}) as env:
        os.environ.update(env)
        check_arguments(kind, getattr(cell.config, kind))
        # Nothing else in this process needs jax, and importing it takes seconds.
        if kind == "algo":
            from bench.check import algorithm

            return algorithm.run(cell.config.algo, cell.choices["algo"])
        if kind == "model":
            from bench.check import model

            every = cells_of(config_dir, ["algo=glob(*)", *overrides], multirun=True)
            return model.run(cell, every)
        from bench.check import task

        return task.run(cell)


def cells_of(config_dir: str | None, overrides: list[str], multirun: bool) -> list[Cell]:
    """The checked cells of a command in the order they run, repeats included."""
    return _composed(config_dir, overrides, multirun)[0]


def _composed(
    config_dir: str | None, overrides: list[str], multirun: bool
) -> tuple[list[Cell], Launcher | None]:
    if (value := os.environ.get("JAX_DISABLE_JIT", "")).lower() in TRUE:
        do = "A cell is one compiled program."
        raise BadInput("JAX_DISABLE_JIT", "no value in the environment", value, do)
    composer = Composer(config_dir)
    cells = [
        checked(point.config, point.choices, lambda: composer.defaults)
        for point in composer.points(overrides, multirun)
    ]
    one_for_all(cells)
    _refuse_idle_target(cells)
    name, settings = composer.launcher
    # The basic one runs the cells one after the other right here.
    if name == "basic" and (idle := {*settings} - {"_target_"}):
        came, do = "the basic one, which has no settings", "Try hydra/launcher=processes."
        raise BadInput(f"hydra.launcher.{min(idle)}", "a launcher that has it", came, do)
    launcher = None if name == "basic" else made("hydra.launcher", settings, Launcher)
    if launcher is None or launcher.here:
        sweep.refuse_missing_device(cells)
    return sweep.with_repeats(told_apart(cells)), launcher


def _refuse_idle(overrides: Sequence[str], tuned: bool) -> None:
    """Refuses what was typed of a contest without one, and what a contest chooses itself."""
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        of_contest = key.startswith("tune.") or key == "metric.learning.target"
        if tuned and key == "lr":
            expected = "no value beside tune=N, which tries its own"
            raise BadInput(key, expected, value, "Try tune.lr=[1e-4,1e-1].")
        if of_contest and key != "tune.trials" and not tuned:
            raise BadInput(key, "tune=N beside it", "no contest", "Add tune=8, or leave it out.")


def _refuse_idle_target(cells: Sequence[Cell]) -> None:
    """Refuses a target that no cell is held to; one of several penalties may well be 0."""
    targets = [cell.config.rate_target for cell in cells]
    if any(targets) and not any(cell.config.rate_penalty for cell in cells):
        came, do = f"rate_target={max(targets):g} alone", "Try rate_penalty=0.1."
        raise BadInput("rate_target", "a rate_penalty above 0 beside it", came, do)

"""The command line: ``python -m reports DIR...`` and its subcommands.

A command is a function: its docstring is its help, its status the exit status. What it needs is
imported when it runs, so that none waits for what another draws with.
"""

from __future__ import annotations

import argparse
import json
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reports.errors import InputError
from reports.records import Sweeps, read_sweeps

DEFAULT = "report"
MOST_DUEL_MIB = 64
PLACES = {"mlflow": "mlruns", "wandb": "."}  # where these two look by themselves


def main(arguments: list[str]) -> int:
    """Runs one command; returns the exit status (2 for input that cannot be used)."""
    parser = argparse.ArgumentParser(
        prog="python -m reports",
        description="Tables, plots and verdicts from the record files of sweeps. "
        "Without a command, `report DIR...` is meant.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, (run, options) in sorted(COMMANDS.items()):
        told = run.__doc__ or ""
        summary = " ".join(told.split("\n\n")[0].split())
        command = subparsers.add_parser(name, help=summary, description=told)
        for flag, settings in options.items():
            command.add_argument(flag, **settings)
    if arguments and arguments[0] not in (*COMMANDS, "-h", "--help"):
        arguments = [DEFAULT, *arguments]
    chosen = parser.parse_args(arguments)
    try:
        return COMMANDS[chosen.command][0](chosen)
    except InputError as error:
        print(f"reports: {error}", file=sys.stderr)
    except BrokenPipeError:
        raise  # nobody reads on: no fault of a path
    except OSError as error:
        where = error.filename or "the output"
        print(f"reports: cannot write or read {where}: {error.strerror}. Check the path, its "
              "permissions and the space on the disk.", file=sys.stderr)  # fmt: skip
    return 2


def report(chosen: Namespace) -> int:
    """Rebuild tables, plots and the report of one or several sweeps (the default)."""
    from reports.build import build

    built = build(chosen.folders, chosen.out, chosen.plots)
    _left_out(built.sweeps)
    print(built.page)
    print(built.answer)
    return 0


def claims(chosen: Namespace) -> int:
    """What tutorials claim, answered from the records: holds, does not hold, not decided, or not
    tested here.
    """
    from reports.judge.claims import answers
    from reports.study import Study

    found, untested = answers(Study(_left_out(read_sweeps(chosen.folders))).facts)
    for a in found:
        print(f"{a.finding.verdict.upper():<16}{a.claim.words} [{a.claim.source}]\n"
              f"{'':<16}{a.where}: {a.finding.figure}")  # fmt: skip
    for claim in untested:
        print(f"{'NOT TESTED HERE':<16}{claim.words} [{claim.source}]\n"
              f"{'':<16}It takes {claim.regime}.")  # fmt: skip
    return 0


def compare(chosen: Namespace) -> int:
    """Decide whether HEAD regressed from BASE: exact quantities first, then time.

    Exit status: 0 no regression (also where the data cannot tell), 1 some regression, a newly
    failing or a missing cell, 2 input that cannot be used.
    """
    from reports.compare import FORMATS, compare
    from reports.output import tell

    if not 0 <= chosen.bar < 10:
        raise InputError("--bar to be a share such as 0.05", f"{chosen.bar}", "Write 5 % as 0.05.")
    found = compare(chosen.base, chosen.head, chosen.bar)
    tell(FORMATS[chosen.format](found), chosen.out)
    if chosen.out:
        print(found.headline)
    return found.status


def duel(chosen: Namespace) -> int:
    """The verdict of a duel, from the pairs in its folder; `python -m bench.duel` asks for it.

    Reads duel.json; writes verdict.json for programs, .txt and .md for people. Exit status: 0 when
    nothing got slower or the data cannot tell, 1 when something did.
    """
    from reports.compare import FORMATS
    from reports.duel import as_comparison, decide
    from reports.output import tell
    from reports.records.read import Unusable, read_json

    file: Path = chosen.folder / "duel.json"
    try:
        state = read_json(file, MOST_DUEL_MIB)
        decision = decide(state)
        told = as_comparison(decision, state)
        verdict = {"json": json.dumps(decision, indent=1), "txt": FORMATS["text"](told),
                   "md": FORMATS["markdown"](told)}  # fmt: skip
    except (Unusable, LookupError, TypeError, AttributeError, ValueError) as why:
        came = why if isinstance(why, Unusable) else f"which is none ({why!r})"
        raise InputError("a folder with the duel.json of a duel", f"{file}, {came}",
                         "`python -m bench.duel base=main` makes one.") from None  # fmt: skip
    for ending, words in verdict.items():
        tell(words, chosen.folder / f"verdict.{ending}")
    print(verdict["txt"], end="")
    return 1 if decision["worse"] else 0


def export(chosen: Namespace) -> int:
    """Write records as runs of MLflow, TensorBoard or Weights & Biases (offline), each once."""
    from reports.tracking import export

    sweeps = _left_out(read_sweeps(chosen.folders))
    place = chosen.out or str(sweeps.folders[0] / PLACES.get(chosen.to, chosen.to))
    written, there = export(sweeps, chosen.to, place, chosen.experiment)
    print(f"{written} of {written + there} runs written to {place}; a run that is there stays")
    return 0


def table(chosen: Namespace) -> int:
    """A LaTeX, Markdown or CSV table of any pivot of the results: medians over the ok cells, or
    means with their intervals.

    Settings that were pooled, and cells that lack a number, are named on standard error.
    """
    from reports.pivot import FORMATS, pivot
    from reports.records import frame
    from reports.text import plural

    cols = ["algo"] * ("algo" not in chosen.rows) if chosen.cols is None else chosen.cols
    found = frame(_left_out(read_sweeps(chosen.folders)).records)
    made = pivot(found, chosen.rows, cols, chosen.values, chosen.intervals)
    if made.pooled:
        print(f"reports: medians over different {', '.join(made.pooled)}", file=sys.stderr)
    for metric, n in made.lacking.items():
        print(f"reports: left out of {metric}: {plural(n, 'ok cell')} whose training or gradient "
              "was not finite", file=sys.stderr)  # fmt: skip
    if made.busy:
        print(f"reports: no best time, for {plural(made.busy, 'ok cell')} had to share the "
              "machine", file=sys.stderr)  # fmt: skip
    if made.unequal:
        print(f"reports: no best, for what is compared differs in {', '.join(made.unequal)}; add "
              f"--rows {','.join([*chosen.rows, *made.unequal])}", file=sys.stderr)  # fmt: skip
    print(FORMATS[chosen.format](made), end="")
    return 0


def _left_out(sweeps: Sweeps) -> Sweeps:
    """The same; the files that had to be left out are named on standard error."""
    for file, why in sweeps.corrupt:
        print(f"reports: left out {file}: {why}", file=sys.stderr)
    return sweeps


_FOLDERS = {"folders": {"nargs": "+", "type": Path, "metavar": "DIR", "help": "a sweep's folder"}}
_SIDE = {"type": Path, "help": "a sweep's folder or a results.parquet"}
_LIST: dict[str, Any] = {"metavar": "A,B", "type": lambda text: [
    name.strip() for name in text.split(",") if name.strip()]}  # fmt: skip

# name -> (what runs, its arguments as argparse takes them)
COMMANDS: dict[str, tuple[Callable[[Namespace], int], dict[str, dict[str, Any]]]] = {
    "report": (report, {
        **_FOLDERS,
        "--out": {"type": Path, "help": "where to write (default: the sweep's own folder, or, "
                                        "of several, one of their names beside the first)"},
        "--plots": {"nargs": "+", "default": [], "metavar": "MODULE", "help": "further plots: "
                    "modules with ORDER, TITLE and make(study), as `import` finds them"},
    }),
    "claims": (claims, _FOLDERS),
    "compare": (compare, {
        "base": {"metavar": "BASE", **_SIDE},
        "head": {"metavar": "HEAD", **_SIDE},
        "--format": {"choices": ("text", "markdown", "json"), "default": "text"},
        "--out": {"type": Path, "help": "write it there instead of to standard output"},
        "--bar": {"type": float, "default": 0.05, "metavar": "SHARE", "help": "the least change "
                  "of a time that counts (default: %(default)s)"},
    }),
    "duel": (duel, {"folder": {"type": Path, "metavar": "DIR", "help": "a duel's folder"}}),
    "export": (export, {
        **_FOLDERS,
        "--to": {"required": True, "choices": ("mlflow", "tensorboard", "wandb")},
        "--out": {"help": "the tracker's folder (default: in the first DIR), or a URI of MLflow"},
        "--experiment": {"default": "etrace-bench", "help": "its name in MLflow, the project of "
                                                            "Weights & Biases"},
    }),
    "table": (table, {
        **_FOLDERS,
        "--rows": {**_LIST, "default": "n_hidden", "help": "columns whose values are the rows, "
                   "such as n_hidden,batching (default: %(default)s)"},
        "--cols": {**_LIST, "help": "columns whose values are the columns (default: algo, and none "
                   "where that is a row)"},
        "--values": {**_LIST, "default": "step_time_ms",
                     "help": "the metrics in the cells (default: %(default)s)"},
        "--intervals": {"action": "store_true", "help": "with 95 %% intervals from three "
                        "processes (or seeds) on; of two with both values"},
        "--format": {"choices": ("markdown", "latex", "csv"), "default": "markdown"},
    }),
}  # fmt: skip

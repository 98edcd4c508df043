"""The command line: ``python -m reports DIR...`` and its subcommands, one a file in
`reports.commands`.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys

from reports import commands
from reports.errors import InputError

DEFAULT = "report"


def main(arguments: list[str]) -> int:
    """Runs one command; returns the exit status (2 for input that cannot be used)."""
    modules = {
        m.name: importlib.import_module(f"reports.commands.{m.name}")
        for m in pkgutil.iter_modules(commands.__path__)
    }
    parser = argparse.ArgumentParser(
        prog="python -m reports",
        description="Tables, plots and verdicts from the record files of sweeps. "
        "Without a command, `report DIR...` is meant.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, module in sorted(modules.items()):
        summary = " ".join((module.__doc__ or "").split("\n\n")[0].split())
        module.add_arguments(subparsers.add_parser(name, help=summary, description=module.__doc__))
    if arguments and arguments[0] not in modules and arguments[0] not in ("-h", "--help"):
        arguments = [DEFAULT, *arguments]
    chosen = parser.parse_args(arguments)
    try:
        return int(modules[chosen.command].run(chosen))
    except InputError as error:
        print(f"reports: {error}", file=sys.stderr)
    except BrokenPipeError:
        raise  # nobody reads on: no fault of a path
    except OSError as error:
        print(
            f"reports: cannot write or read {error.filename or 'the output'}: {error.strerror}. "
            "Check the path, its permissions and the space on the disk.",
            file=sys.stderr,
        )
    return 2

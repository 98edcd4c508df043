"""``--help``: what there is to choose from, and every key with the comment of its YAML file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.command.compose import CONF, LISTED, Composer
from bench.sweep.cell import GROUPS

USAGE = """\
Benchmarks of online learning with eligibility traces against BPTT.

  python -m bench KEY=VALUE...               one cell
  python -m bench -m KEY=A,B KEY=C,D...      a sweep over all combinations
  python -m bench +experiment=NAME           a shipped sweep; KEY=VALUE changes it
  python -m bench ... plan=true              what would run, its memory and time
  python -m bench -m algo=A,B tune=8         a contest: as many trials for everyone
  python -m bench check algo=NAME            does an algorithm keep its promises?

Options to choose from:
"""
VALUES = "Every value that can be set, with its default; --help algo=NAME shows that one's:"
CLOSING = """\
--config-dir DIR adds a folder of your own YAML files, --cfg job prints the composed
configuration, eval "$(etrace-bench --shell-completion install=bash)" completes what you type."""


def text(config_dir: str | None, overrides: Sequence[str], multirun: bool) -> str:
    """The help for a command with these overrides."""
    composer = Composer(config_dir)
    point = next(iter(composer.points(list(overrides), multirun)))
    lines = [
        USAGE,
        *(f"{group}: {', '.join(composer.options(group))}" for group in composer.groups()),
        "",
        VALUES,
        "",
        *_commented(CONF / "config.yaml"),
    ]
    chosen = [(group, point.choices[group]) for group in GROUPS]
    chosen += [(group, name) for group in LISTED for name in point.config.get(group) or ()]
    places = [CONF, *([Path(config_dir)] if config_dir else [])]
    for group, name in chosen:
        files = [place / group / f"{name}.yaml" for place in places]
        own = [line for file in files if file.is_file() for line in _commented(file)]
        if own:
            path = f"{group}.{name}" if group in LISTED else group
            lines += ["", f"{path}:  # of {group}={name}", *(f"  {line}" for line in own)]
    return "\n".join([*lines, "", CLOSING])


def _commented(file: Path) -> Iterator[str]:
    """The lines of a YAML file that set something a person may set, comments included."""
    skipping = False
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith((" ", "#")) and line:
            # What chooses options, or is Hydra's; a target is what its option is.
            skipping = re.match(r"(defaults|hydra|_target_)\b", line) is not None
        if line.strip() and not skipping and not line.startswith("#"):
            yield line

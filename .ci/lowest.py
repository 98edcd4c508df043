"""Prints the lowest versions that pyproject.toml declares, as pip's constraints."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

EXTRAS = ("data", "peers", "slurm")

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
optional = project["optional-dependencies"]
for line in sorted({*project["dependencies"], *(x for e in EXTRAS for x in optional[e])}):
    name, lowest = re.match(r"([\w-]+)>=([\d.]+)", line).groups()
    print(f"{name}=={lowest}")

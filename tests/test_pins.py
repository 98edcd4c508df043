"""Everything that is installed has a pinned version."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def pinned(constraints: str) -> dict[str, str]:
    """name -> version of a constraints file in which every line is an exact pin."""
    pins = {}
    for line in constraints.splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[canonicalize_name(name)] = version
    return pins


def unpinned(requirements: list[str], pins: dict[str, str]) -> tuple[int, list[str]]:
    """What the requirements drag in, all the way down, that no pin fixes."""
    queue = [Requirement(text) for text in requirements]
    seen: set[tuple[str, str]] = set()
    found: list[str] = []
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        extras = sorted(requirement.extras) or [""]
        for extra in extras:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name != "etrace-bench" and name not in pins:
                found.append(name)
            try:
                texts = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                found.append(f"{name} (not installed)")
                continue
            for text in texts:
                dependency = Requirement(text)
                if dependency.marker is None or dependency.marker.evaluate({"extra": extra}):
                    queue.append(dependency)
    return len(seen), sorted(set(found))


# What the test extra brings along.
INSTALLED_EXTRAS = ("data", "docs", "peers", "slurm")


def project_requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    everything = [
        *project["project"]["dependencies"],
        *extras["test"],
        *(text for name in INSTALLED_EXTRAS for text in extras[name]),
    ]
    return [text for text in everything if not text.startswith("etrace-bench")]


def test_everything_that_is_installed_is_pinned() -> None:
    pins = pinned((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    looked, found = unpinned(project_requirements(), pins)
    assert looked > 50
    assert found == []


def test_a_missing_pin_is_found() -> None:
    pins = pinned((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    del pins["jaxlib"]
    assert unpinned(["jax"], pins)[1] == ["jaxlib"]

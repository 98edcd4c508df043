"""The workflows are valid, and safe against what a pull request could inject."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent

INJECTION = """
name: bad
on: pull_request
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: echo ${{ github.event.pull_request.title }}
"""


def lint(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / tool), *arguments], capture_output=True, text=True, check=False
    )


def schema(*files: Path) -> subprocess.CompletedProcess[str]:
    return lint("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, files))


def audit(*files: Path) -> subprocess.CompletedProcess[str]:
    return lint("zizmor", "--offline", "--no-progress", *map(str, files))


def test_there_are_workflows() -> None:
    assert {file.name for file in WORKFLOWS} >= {"ci.yml", "bench.yml"}


@pytest.mark.parametrize("look", [schema, audit])
def test_workflows_are_valid_and_safe(look: Callable[..., Any]) -> None:
    done = look(*WORKFLOWS)
    assert done.returncode == 0, done.stdout


def test_a_broken_workflow_fails_the_schema(tmp_path: Path) -> None:
    file = tmp_path / "bad.yml"
    file.write_text(INJECTION.replace("runs-on", "run-on"), encoding="utf-8")
    assert schema(file).returncode == 1


def test_an_injection_fails_the_audit(tmp_path: Path) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "bad.yml").write_text(INJECTION, encoding="utf-8")
    done = audit(folder / "bad.yml")
    assert done.returncode != 0
    assert "template-injection" in done.stdout


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_steps_call_scripts_and_targets_that_exist(file: Path) -> None:
    steps = [
        step
        for job in yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    assert steps
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for step in steps:
        for script in re.findall(r"\.ci/\S+", step["run"]):
            assert (ROOT / script).is_file(), script
        for target in re.findall(r"make (\S+)", step["run"]):
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target

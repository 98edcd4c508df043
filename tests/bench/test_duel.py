"""The duel on small planted projects whose "benchmark" answers at once with a known time."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cell.time_slices import VARIABLE
from bench.duel import cli
from bench.duel.referee import Referee
from bench.duel.trees import checked_out
from bench.errors import BadInput
from bench.sweep import sweep
from bench.sweep.record import write_json
from tests.bench.sweeps import reports_here

# Stands in for `python -m bench`: same arguments, same record, a planted time.
PLANTED = """
import json, pathlib, random, sys  # without a word to ETRACE_BENCH_TURNS
arguments = dict(a.split("=", 1) for a in sys.argv[1:])
if "typo" in arguments:
    print("error: typo: expected a key of the configuration; got typo.")
    sys.exit(2)
if "MODE" == "later" and list(pathlib.Path(arguments["out"].strip("'")).glob("../pairs/0001-*")):
    print("error: task: no such file any more.")
    sys.exit(2)
if "MODE" == "crash":
    sys.exit("signal 9")
folder = pathlib.Path(arguments["out"].strip("'")) / "cells"
folder.mkdir(parents=True, exist_ok=True)
step = (2.0 if arguments.get("algo") == "bptt" else 1.0) * random.gauss(SPEED, 0.005)
skips = "MODE" == "skips" and arguments.get("algo") != "bptt"
record = {"status": "skipped" if skips else "ok", "reason": "too wide" if skips else "",
          "row": {"algo": arguments.get("algo")}, "metrics": {"step_time_ms": step}}
for number in range(3 if "+experiment" in arguments else 1):
    (folder / f"{number}.json").write_text(json.dumps(record))
"""


def plant(root: Path, speed: float, mode: str = "") -> Path:
    """A project whose training step takes ``speed`` ms."""
    for package in ("core", "bench"):
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").touch()
    text = PLANTED.replace("SPEED", str(speed)).replace("MODE", mode)
    (root / "bench" / "__main__.py").write_text(text, encoding="utf-8")
    return root


def run(
    tmp_path: Path, base: Path, head: Path, *more: str, reports: Callable[..., Any] = reports_here
) -> int:
    out = f"out={tmp_path / 'duel'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "reports", reports)
        return cli.main([f"base={base}", f"head={head}", out, "order_seed=0", "algo=d_rtrl", *more])


def cells(arguments: list[str]) -> list[tuple[str, ...]]:
    return cli.parse(["base=.", *arguments]).cells


def verdict(tmp_path: Path) -> dict[str, str]:
    decision = json.loads((tmp_path / "duel" / "verdict.json").read_text(encoding="utf-8"))
    return {cell["name"]: cell["verdict"] for cell in decision["cells"]}


def test_a_slower_head_is_worse_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, head = plant(tmp_path / "a", 1.0), plant(tmp_path / "b", 1.2)
    # Once in a process of its own, as always outside of tests.
    asked = itertools.chain([sweep.reports], itertools.repeat(reports_here))
    assert run(tmp_path, base, head, reports=lambda *words: next(asked)(*words)) == 1
    assert verdict(tmp_path) == {"algo=d_rtrl": "worse"}
    said = capsys.readouterr().out
    assert "pair 14, second round, algo=d_rtrl" in said
    assert "\n1 regression (0 exact, 1 in time). Of 1 comparison: none else.\n" in said
    state = json.loads((tmp_path / "duel" / "duel.json").read_text(encoding="utf-8"))
    assert len(state["pairs"]) == 14
    assert [state[side]["root"] for side in ("base", "head")] == [str(base), str(head)]
    assert (tmp_path / "duel" / "verdict.md").read_text(encoding="utf-8").startswith("### 1 reg")


def test_equal_trees_are_the_same_and_exit_0(tmp_path: Path) -> None:
    base, head = plant(tmp_path / "a", 1.0), plant(tmp_path / "b", 1.0)
    assert run(tmp_path, base, head) == 0
    assert verdict(tmp_path) == {"algo=d_rtrl": "same"}


def test_a_head_that_crashes_is_worse(tmp_path: Path) -> None:
    base, head = plant(tmp_path / "a", 1.0), plant(tmp_path / "b", 1.0, "crash")
    assert run(tmp_path, base, head) == 1
    decision = json.loads((tmp_path / "duel" / "verdict.json").read_text(encoding="utf-8"))
    assert decision["cells"][0]["reason"] == "fails on head: crashed, signal 9"


def test_what_both_sides_skip_is_asked_once(tmp_path: Path) -> None:
    base, head = plant(tmp_path / "a", 1.0, "skips"), plant(tmp_path / "b", 1.0, "skips")
    assert run(tmp_path, base, head, "algo=rtrl,bptt") == 0
    duel = json.loads((tmp_path / "duel" / "duel.json").read_text(encoding="utf-8"))
    assert [pair["cell"] for pair in duel["pairs"]].count(0) == 1
    assert verdict(tmp_path) == {"algo=rtrl": "cannot tell", "algo=bptt": "same"}
    decision = json.loads((tmp_path / "duel" / "verdict.json").read_text(encoding="utf-8"))
    assert decision["cells"][0]["reason"] == "fails on base and head: skipped, too wide"


def test_a_temporary_folder_of_a_long_name_has_turns_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (long := tmp_path / ("x" * 100)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with Referee(0) as referee:
        assert Path(referee.environment[VARIABLE]).exists()


def test_a_spent_budget_cannot_tell(tmp_path: Path) -> None:
    base, head = plant(tmp_path / "a", 1.0), plant(tmp_path / "b", 1.2)
    assert run(tmp_path, base, head, "budget_s=0.01") == 0
    assert verdict(tmp_path) == {"algo=d_rtrl": "cannot tell"}


def test_the_time_that_is_told_is_that_after_the_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks), sleep=time.sleep)
    monkeypatch.setattr(cli, "time", clock)
    tree = plant(tmp_path / "a", 1.0)
    assert run(tmp_path, tree, tree, "budget_s=0.5") == 0
    (told,) = re.findall(r"^\[ *(\d+) of 0 s\] pair 1,", capsys.readouterr().out, re.M)
    assert int(told) > 1  # the first tick behind the start is before the pair


def test_revisions_are_checked_out_and_removed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = plant(tmp_path / "repository", 1.0)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    monkeypatch.chdir(repository)
    with checked_out("base", "HEAD") as tree:
        assert tree.root != repository
        assert (tree.root / "bench" / "__main__.py").is_file()
        assert tree.commit is not None
        assert len(tree.commit) == 40
        root = tree.root
    assert not root.exists()
    listed = subprocess.run(["git", "worktree", "list"], cwd=repository, capture_output=True)
    assert len(listed.stdout.splitlines()) == 1
    with checked_out("head", ".") as tree:
        assert tree.root == repository
        assert not tree.dirty


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["algo=d_rtrl"], "base: expected a git revision or a folder; got nothing."),
        (["base=no-such-thing"], "base: expected a git revision of this repository or a folder"),
        (
            ["base=.", "budget_s=soon"],
            "budget_s: expected a number above 0; got soon. Try budget_s=1800.",
        ),
        (
            ["base=.", "order_seed=x"],
            "order_seed: expected a whole number of at least 0, or null; got x.",
        ),
        (["base=.", "out="], "out: expected the name of a folder; got nothing. Leave it out"),
        (
            ["base=.", "algo=glob(*)"],
            "algo: expected values by name, or a range of them with a step",
        ),
        (["base=.", "--fast"], "argument: expected KEY=VALUE; got --fast."),
        (["base=.", "repeats=5"], "repeats: expected no value, which a duel sets itself; got 5."),
        (["base=.", "tune=5"], "tune: expected no value, which a duel sets itself; got 5."),
        (["base=.", "metric=[learning]"], "metric: expected no value, which a duel sets itself"),
    ],
)
def test_bad_input_is_one_message_and_exits_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    monkeypatch.chdir(plant(tmp_path / "project", 1.0))
    assert cli.main([f"out={tmp_path / 'duel'}", *arguments]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "duel").exists()


def test_what_a_tree_refuses_is_told_before_anything_is_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, head = plant(tmp_path / "a", 1.0), plant(tmp_path / "b", 1.0)
    assert run(tmp_path, base, head, "typo=1") == 2
    said = capsys.readouterr().err
    assert 'knows; got "typo: expected a key of the configuration' in said
    assert said.count("\n") == 1
    assert not (tmp_path / "duel" / "pairs").exists()


def test_a_refusal_in_the_middle_keeps_the_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, head = plant(tmp_path / "a", 1.0), plant(tmp_path / "b", 1.0, "later")
    assert run(tmp_path, base, head) == 2
    assert "no such file any more" in capsys.readouterr().err
    state = json.loads((tmp_path / "duel" / "duel.json").read_text(encoding="utf-8"))
    assert len(state["pairs"]) >= 1


def test_a_disk_that_fills_up_ends_a_duel_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, state: dict[str, list[object]]) -> None:
        if state["pairs"]:
            raise OSError(28, "No space left on device", str(path))
        write_json(path, state)

    monkeypatch.setattr(cli, "write_json", full)
    tree = plant(tmp_path / "a", 1.0)
    assert run(tmp_path, tree, tree) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the duel cannot go on: [Errno 28] No space left on device")
    assert said.count("\n") == 1


def test_statistics_that_cannot_be_asked_end_a_duel_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = subprocess.CompletedProcess([], 2, "", "reports: no such\nfolder")
    monkeypatch.setattr(sweep, "reports", lambda *_: answer)
    with pytest.raises(ChildProcessError):
        cli._decide(tmp_path, {})
    tree = plant(tmp_path / "a", 1.0)
    assert run(tmp_path, tree, tree, reports=lambda *_: answer) == 2
    assert capsys.readouterr().err == (
        "error: the duel cannot go on: no decision could be made (reports: no such folder)\n"
    )


def test_a_duel_of_an_experiment_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, head = plant(tmp_path / "a", 1.0), plant(tmp_path / "b", 1.0)
    assert run(tmp_path, base, head, "+experiment=three") == 2
    assert "expected overrides of one cell that" in (said := capsys.readouterr().err)
    assert "; got 3 cells. " in said


def test_a_folder_with_a_duel_in_it_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "duel").mkdir()
    (tmp_path / "duel" / "duel.json").write_text("{}", encoding="utf-8")
    tree = plant(tmp_path / "a", 1.0)
    assert run(tmp_path, tree, tree) == 2
    assert "out: expected a folder without a duel in it" in capsys.readouterr().err


def test_sweeps_become_one_cell_a_value() -> None:
    assert cells(["algo=a,b", "lr=1e-3", "seed=range(0,2)"]) == [
        ("algo=a", "lr=1e-3", "seed=0"),
        ("algo=a", "lr=1e-3", "seed=1"),
        ("algo=b", "lr=1e-3", "seed=0"),
        ("algo=b", "lr=1e-3", "seed=1"),
    ]
    assert cells([]) == [()]


def test_cells_are_named_by_what_sets_them_apart() -> None:
    found = cells(["algo=a,b", "lr=1e-3"])
    assert cli.titles(found) == ("lr=1e-3", ["algo=a", "algo=b"])
    assert cli.titles([("algo=a", "lr=1e-3")]) == ("", ["algo=a lr=1e-3"])
    assert cli.titles([()]) == ("", ["defaults"])


def test_a_tree_finds_what_the_path_of_the_command_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "mine")
    with checked_out("base", str(plant(tmp_path / "a", 1.0))) as tree:
        # Its processes start in another folder.
        path = tree.environment()["PYTHONPATH"].split(":")
    assert path == [str(tmp_path / "a"), str(tmp_path / "mine")]


def test_a_tree_without_the_packages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    with pytest.raises(BadInput, match="base: expected a tree with a package bench"):
        checked_out("base", str(tmp_path)).__enter__()


def test_a_tree_from_before_turns_is_refused(tmp_path: Path) -> None:
    (plant(tmp_path, 1.0) / "bench" / "__main__.py").write_text("", encoding="utf-8")
    with pytest.raises(
        BadInput, match="base: expected a tree with cells that can be timed in turns"
    ):
        checked_out("base", str(tmp_path)).__enter__()

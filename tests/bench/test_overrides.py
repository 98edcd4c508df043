"""Overrides mean what they mean in Hydra, or are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.command import cli
from bench.command.compose import Composer
from tests.bench.test_compose import ALGOS, points

REFUSED = {
    "hydra.run.dir=a out=b": "out: expected the folder that Hydra's setting names, a; got b. "
    "Give one of the two.",
    "hydra.job.chdir=true": "hydra.job.chdir: expected a setting of Hydra that the harness follows "
    "(launcher, sweeper.params, searchpath, mode, job.name, run.dir, sweep.dir); got true. "
    "out=DIR names the folder of a sweep, and cells start in the current one.",
    "+hydra.job.env_set.A=b": "got b. out=DIR names the folder of a sweep, and cells start in the "
    "current one.",
    "-m hydra.verbose=true,false": "hydra.verbose: expected one value for the whole sweep; got "
    "true,false.",
    "hydra.mode=x": "got Error merging override hydra.mode=x: Invalid value 'x', expected one of "
    "[RUN, MULTIRUN].",
    "out=${hydra:runtime.output_dir}": "'hydra.runtime.output_dir has no value here'.",
    "out=${oc.env:ETRACE_NO_SUCH}": "\"Environment variable 'ETRACE_NO_SUCH' not found\".",
    "lr=???": "got Missing mandatory value: lr.",
    "-m lr=interval(0,1)": "lr: expected values by name, or a range of them with a step; got "
    "interval(0,1).",
    "-m n_hidden=8,,16": "got n_hidden=8,,16. A value is missing beside a comma.",
    "-m n_hidden=foo(8)": "got n_hidden=foo(8). Unknown function 'foo' Available: "
    "bool,choice,float,glob,int,interval,range,shuffle,sort,str,tag.",
    "-m n_hidden=range(8,16,0)": "n_hidden: expected values by name, or a range of them with a "
    "step; got range(8,16,0).",
    "-m algo=bptt,glob(d*)": "algo: expected names, or glob(...) alone; got bptt,glob(d*). Try "
    "glob([A,B*]).",
    "algo=bptt.yaml": "got bptt.yaml. Did you mean bptt?",
    "algo=../algo/d_rtrl": "got ../algo/d_rtrl. Did you mean d_rtrl?",
    "metric=[/timing]": "got /timing. Did you mean timing?",
    "+model@algo=gru": "got +model@algo=gru. Without the plus: model=gru.",
    "+experiment.quick=1": "experiment: expected text, or null; got {'quick': 1}.",
    "experiment={n_hidden:8}": "experiment: expected text, or null; got {'n_hidden': 8}.",
    "hydra.searchpath=[nope]": "hydra.searchpath in command-line, path=nope is not available.",
    "n_hidden=${nope}": "n_hidden: expected values that Hydra can compose; got Interpolation key "
    "'nope' not found.",
    "out=": "out: expected the name of a folder; got nothing. Leave it out for runs/.",
    "hydra.run.dir=": "out: expected the name of a folder; got nothing. Leave it out for runs/.",
    "~": "argument: expected KEY=VALUE; got ~. See python -m bench --help.",
    "--config-dir= n_hidden=8": "--config-dir: expected a folder of YAML files; got nothing.",
    "-m algo=glob(nope)": "algo: expected at least one value; got glob(nope).",
    "~algo": f"algo: expected one of {ALGOS}; got ~algo.",
    "~lr=2": "got Could not delete from config. The value of 'lr' is 0.001 and not 2.",
    "+lr=2": "got Could not append to config. An item is already at 'lr'. Either remove + prefix: "
    "'lr=2' Or add a second + to add or override 'lr': '++lr=2'",
    "algo={windw:4}": "got windw. Did you mean window?",
    "n_hidden.foo=3": "n_hidden.foo: expected no hyperparameter; got foo.",
    "++algo=bptt": "got force-add of config groups is not supported: '++algo=bptt'.",
    "--config-name config": "argument: expected KEY=VALUE; got --config-name. See python -m bench "
    "--help.",
    "check --cfg job": "argument: expected KEY=VALUE; got --cfg. See python -m bench --help.",
}


@pytest.mark.parametrize("argument", REFUSED)
def test_refused(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argument.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert printed.err.strip().endswith(REFUSED[argument])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("n_hidden=8 ++n_hidden=32", [32]),
        ("++n_hidden=32 n_hidden=8", [8]),
        ("n_hidden=8 n_hidden=16", [16]),
        ("n_hidden=8,16 ++n_hidden=32", [32]),
        ("n_hidden=8 n_hidden=16,32", [16, 32]),
        ("n_hidden=choice(8,16)", [8, 16]),
        ("+experiment=width ++n_hidden=32 algo=bptt", [32]),
        ("+experiment=width ++n_hidden=16,32 algo=bptt", [16, 32]),
    ],
)
def test_the_last_override_wins_and_two_pluses_force(typed: str, expected: list[int]) -> None:
    assert [p.config["n_hidden"] for p in points(*typed.split(), multirun=True)] == expected


@pytest.mark.parametrize(
    ("typed", "key", "expected"),
    [
        (
            "limits={deadline_s:5} limits={memory_gib:2}",
            "limits",
            {"deadline_s": 5, "memory_gib": 2},
        ),
        (
            "limits={memory_gib:2} limits.deadline_s=7 limits={deadline_s:6} limits.memory_gib=3",
            "limits",
            {"deadline_s": 6, "memory_gib": 3},
        ),
        ("algo={window:4}", "algo", {"_target_": "core.D_RTRL", "window": 4, "credit": "trace"}),
        (
            "algo.window=3 algo=es_d_rtrl",
            "algo",
            {"_target_": "core.ES_D_RTRL", "decay_or_rank": 0.9, "window": 3},
        ),
        (
            "~algo.credit +algo.credit=window",
            "algo",
            {"_target_": "core.D_RTRL", "window": "auto", "credit": "window"},
        ),
        ("question=${hydra:runtime.choices.algo} algo=bptt", "question", "bptt"),
        (
            "hydra.run.dir=runs/${hydra.job.override_dirname} lr=1 algo=bptt",
            "out",
            "runs/algo=bptt,lr=1",
        ),
        ("hydra.run.dir=runs/${n_hidden}", "out", "runs/64"),
    ],
)
def test_overrides_mean_what_they_mean_in_hydra(typed: str, key: str, expected: object) -> None:
    (point,) = points(*typed.split())
    found = point.config[key]
    assert ({**found, **expected} if isinstance(expected, dict) else expected) == found


def test_a_moment_and_the_current_folder_are_one_for_all_cells() -> None:
    found = {
        p.config["out"]
        for p in points(
            "out=${hydra:runtime.cwd}/${now:%S-%f}", "algo=bptt,d_rtrl,rtrl", multirun=True
        )
    }
    assert len(found) == 1
    assert Path(found.pop()).parent == Path.cwd()


def test_hydras_own_mode_and_folder_of_sweeps() -> None:
    found = points("hydra.mode=MULTIRUN", "hydra.sweep.dir=mine", "seed=0,1")
    assert [(p.config["seed"], p.config["out"]) for p in found] == [(0, "mine"), (1, "mine")]


@pytest.mark.parametrize(
    ("typed", "multirun", "out"),
    [
        ("hydra.run.dir=mine", True, "mine"),
        ("hydra.sweep.dir=mine", False, "mine"),
        ("hydra.run.dir=a hydra.sweep.dir=b", True, "b"),
        ("hydra.run.dir=a hydra.sweep.dir=b", False, "a"),
    ],
)
def test_either_folder_of_hydras_is_followed(typed: str, multirun: bool, out: str) -> None:
    (point,) = points(*typed.split(), multirun=multirun)
    assert point.config["out"] == out


def test_a_folder_of_ones_own_is_searched_by_glob(tmp_path: Path) -> None:
    (tmp_path / "algo").mkdir()
    (tmp_path / "algo" / "bptt_mine.yaml").write_text("_target_: core.BPTT\n")
    found = Composer(str(tmp_path)).points(["algo=glob(bptt_*)"], True)
    assert [p.choices["algo"].partition("_")[2] for p in found] == [
        "checkpointed",
        "mine",
        "truncated",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "n_hidden: 3",
            "experiment/mine.yaml: expected # @package _global_ as its first line; got "
            "settings of an experiment, not of its cells.",
        ),
        (
            "# @package _global_\nhydra: {sweeper: {params: [1]}}",
            "configuration: expected values that Hydra can compose; got In "
            "'experiment/mine': ConfigTypeError raised while composing config: "
            "Cannot merge DictConfig with ListConfig.",
        ),
        (
            "# @package _global_\nhydra: {sweeper: {params: {hydra.launcher.jobs: 3}}}",
            "cases: expected overrides of cells; got hydra.launcher.jobs=3. That is for the "
            "command line.",
        ),
        (
            "# @package _global_\ncases: [experiment=quick]",
            "cases: expected overrides of cells; got experiment=quick. "
            "That is for the command line.",
        ),
        (
            "# @package _global_\ncases: [{a: 1}]",
            "cases: expected a list of overrides; got [{'a': 1}].",
        ),
        (
            "# @package _global_\ndefaults: [{algo: bptt}]",
            "experiment/algo: expected nothing; got bptt. In a defaults list: override /algo: "
            "NAME.",
        ),
        (
            "# @package _global_\ndefaults: [{override algo: bptt}]",
            "configuration: expected values that Hydra can compose; got In 'experiment/mine': "
            "Could not override 'experiment/algo@algo'. No match in the defaults list. In a "
            "defaults list: override /algo: NAME.",
        ),
        ("# @package _global_\nquestion: [1]", "question: expected text; got [1]."),
    ],
)
def test_an_experiment_of_ones_own_that_says_something_else(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"{text}\n")
    assert cli.main(["--config-dir", str(tmp_path), "+experiment=mine"]) == 2
    assert capsys.readouterr().err == f"error: {complaint}\n"


def test_keys_that_are_numbers_stay_numbers(tmp_path: Path) -> None:
    (tmp_path / "algo").mkdir()
    (tmp_path / "algo" / "mine.yaml").write_text("_target_: m.N\nmap: {1: [{2: 3}], '4': b}\n")
    (point,) = Composer(str(tmp_path)).points(["algo=mine"], False)
    assert point.config["algo"]["map"] == {1: [{2: 3}], "4": "b"}

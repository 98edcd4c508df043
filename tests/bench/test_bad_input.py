"""Every bad input is one short message saying what was expected, what came and what to do."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench import child, processes
from bench.cell import probe
from bench.command import cli, plan, trial
from bench.command.compose import Composer
from bench.config import Config
from bench.sweep import measure, provenance, sweep
from tests.bench.test_compose import ALGOS

CASES = {
    "algo=drtrl": f"algo: expected one of {ALGOS}, got drtrl. Did you mean d_rtrl?",
    "batching=vmapp": "batching: expected one of manual, single, vmap, got vmapp. "
                      "Did you mean vmap?",
    "batch_size=0": "batch_size: expected a whole number of at least 1, got 0. Try batch_size=64.",
    "batch_size=1.5":
        "batch_size: expected a whole number of at least 1, got 1.5. Try batch_size=64.",
    "n_hidden=abc": "n_hidden: expected a whole number of at least 1, got abc. Try n_hidden=64.",
    "n_hidden=": "n_hidden: expected a whole number of at least 1, got nothing. Try n_hidden=64.",
    "+batchsize=4": "batchsize: expected a key of the configuration, got batchsize. "
                    "Did you mean batch_size?",
    "algo.windw=4": "got windw. Did you mean window?",
    "+model.tau_me=4": "got tau_me. Did you mean tau_mem?",
    "+algo.windw=4": "got windw. Did you mean window?",
    "algo.window=[1]": "algo.window: expected a whole number, or text, got [1].",
    "model.tau_mem=abc":
        "model.tau_mem: expected a number above 0, got abc. Try model.tau_mem=5.0.",
    "metric.timing.budget=3": "metric.timing.budget: expected one of against, budget_s, "
                              "ci_width, least_s, max_samples, min_samples, steady_within, "
                              "warmup_s, got budget. Did you mean budget_s?",
    "n_steps=9": "n_steps: expected a multiple of 8 on digits, got 9. Try n_steps=8.",
    "update_every=9": "update_every: expected at most n_steps=8, got 9. "
                      "Use update_every=sequence for one update a sequence.",
    "update_every=sequnce":
        "update_every: expected a whole number of at least 1, or sequence, got sequnce. Did "
        "you mean sequence?",
    "n_hidden=100000000000000000000":
        "n_hidden: expected a whole number of at most 2147483647, got 100000000000000000000. "
        "Try n_hidden=64.",
    "repeats=1000000000":
        "repeats: expected a whole number of at most 10000, got 1000000000. Try repeats=1.",
    "devices=1025": "devices: expected a whole number of at most 1024, got 1025. Try devices=1.",
    "limits.memory_gib=1e300":
        "limits.memory_gib: expected a number of at most 1000000, or null, got 1e+300. Try "
        "limits.memory_gib=1.",
    "metric.timing.max_samples=1" + 400 * "0":
        "metric.timing.max_samples: expected a whole number of at most 2147483647, got 1"
        + 400 * "0" + ". Try metric.timing.max_samples=500.",
    "lr=1" + 400 * "0":
        "lr: expected a number of at most 1.79769e+308, got 1" + 400 * "0" + ". Try lr=0.001.",
    "seed=4294967296": "seed: expected a whole number of at most 4294967295, got 4294967296. "
                       "Try seed=0.",
    "backend=braintrace backend.chunk=-3": "backend.chunk: expected a whole number of at least 1, "
                                           "or null, got -3. Try backend.chunk=1.",
    "model.tau_mem=-3": "model.tau_mem: expected a number above 0, got -3. Try model.tau_mem=5.0.",
    "metric.timing.budget_s=inf":
        "metric.timing.budget_s: expected a number of at most 1.79769e+308, got inf. Try "
        "metric.timing.budget_s=4.0.",
    "metric.timing.against=d_rtrl":
        "metric.timing.against: expected one of bptt, null, got d_rtrl.",
    "task=shd task.n_train=0": "task.n_train: expected a whole number of at least 1, or null, "
                               "got 0. Try task.n_train=1.",
    "task=breast_cancer":
        "n_steps: expected a multiple of 10 on breast_cancer, got 8. Try n_steps=10.",
    "task=delayed_match n_steps=4":
        "task: n_steps: expected at least 5 (4 steps that show something and a delay of 1), got "
        "4.",
    "task=delayed_match task.delay=5":
        "task: n_steps: expected at least 9 (4 steps that show something and a delay of 5), got "
        "8.",
    "task=delayed_match task.hold=0":
        "task: hold: expected at least 1, got 0 steps that show something.",
    "task=copy_memory n_steps=4":
        "task: n_steps: expected at least 5 (4 steps that show something and a delay of 1), got "
        "4.",
    "task=shd":
        "task: path: expected a folder with shd_train.h5 and shd_test.h5, got nothing. Set "
        "task.path=DIR; the files come from https://zenkelab.org/datasets (SHD; unpack "
        "shd_train.h5.gz and shd_test.h5.gz).",
    "task=shd task.path=here":
        "got no shd_train.h5 in here. Set task.path=DIR; the files come from "
        "https://zenkelab.org/datasets (SHD; unpack shd_train.h5.gz and shd_test.h5.gz).",
    "task=nmnist":
        "task: path: expected a folder with Train/0 to Train/9 and Test/0 to Test/9, got "
        "nothing. Set task.path=DIR; the files come from "
        "https://www.garrickorchard.com/datasets/n-mnist (unpack Train.zip and Test.zip).",
    "task=nmnist task.pool=3 task.path=x": "task: pool: expected a divisor of 34, got 3.",
    "lr=-1": "lr: expected a number above 0, got -1. Try lr=0.001.",
    "lr=nan": "lr: expected a number above 0, got nan. Try lr=0.001.",
    "dtype=float16": "dtype: expected one of float32, float64, got float16.",
    "out=[1]": "out: expected the name of a folder, got [1]. Put quotes around it: out=\"'[1]'\".",
    "+plot.mine._target_=no.such_module": "plot.mine: expected _target_: MODULE, one that can be "
                                          "found, got no.such_module. Is its folder on PYTHONPATH?",
    "plot=3": "plot: expected a list of plots, got 3. Try plot=[NAME].",
    "plot=[nope]": "plot: expected names of YAML files in a folder plot of your own, got nope. "
                   "Give the folder around it as --config-dir. What the report draws by itself "
                   "need not be asked for.",
    "~plot": "plot: expected plot=VALUE, got ~plot. What is null cannot be left out.",
    "+plot.mine=3": "plot.mine: expected _target_: MODULE, one that can be found, got 3. "
                    "Is its folder on PYTHONPATH?",
    "metric=3": "metric: expected [NAME,...] of agreement, fidelity, health, learning, memory, "
                "timing, work, got 3.",
    "metric=[]": "metric: expected at least one metric, got none. "
                 "Leave metric= out for all of them.",
    "metric.timing=null": "metric.timing: expected _target_: package.module.Name and its "
                          "arguments, got None.",
    "batching=null": "batching: expected one of manual, single, vmap, got null.",
    "batching.mode=foo": "batching.mode: expected one of manual, vmap, single, got foo.",
    "+batching.foo=3": "batching.foo: expected mode, got foo.",
    "~batching.mode": "batching.mode: expected a value, got none at all.",
    "device.platform=tpu": "device.platform: expected one of cpu, gpu, got tpu.",
    "device.platform=CPU": "device.platform: expected one of cpu, gpu, got CPU. Did you mean cpu?",
    "backend._target_=core.BPTT": "backend: expected a subclass of bench.backends.base.Backend, "
                                  "got core.BPTT. See bench/backends/ for some.",
    "+backend.x=3": "backend.x: expected no hyperparameter, got x.",
    "task.steps_multiple_of=0":
        "task.steps_multiple_of: expected a whole number of at least 1, got 0. Try "
        "task.steps_multiple_of=1.",
    "task.steps_multiple_of=4": "task.steps_multiple_of: expected 8, got 4.",
    "~task._target_": "got {'steps_multiple_of': 8, 'n_test': 360}.",
    "~lr": "lr: expected lr=VALUE, got ~lr. Only hyperparameters can be left out.",
    "~limits.deadline_s": "limits.deadline_s: expected a value, got none at all.",
    "~experiment": "experiment: expected one experiment, got ~experiment.",
    "cases=3": "cases: expected a list of overrides, got 3.",
    "hydra=3": "hydra: expected hydra.KEY=VALUE, got hydra=3.",
    "hydra.launcher=3": "hydra.launcher: expected settings, got 3.",
    "experiment=quick,gate": "experiment: expected one value for the whole sweep, got quick, gate. "
                             "Start a command for each.",
    "report=maybe": "report: expected one of true, false, got maybe.",
    "resume=maybe": "resume: expected one of true, false, retry, got maybe.",
    "python=no-such-python": "python: expected a Python interpreter or the name of an "
                             "environment (brainscale), got no-such-python. Give the "
                             "path of the python in a virtual environment.",
    "limits.deadline=3": "limits.deadline: expected one of deadline_s, memory_gib, got deadline. "
                         "Did you mean deadline_s?",
    "limits.deadline_s=-3":
        "limits.deadline_s: expected a number above 0, got -3. Try limits.deadline_s=1.",
    "limits.memory_gib=0": "got 0. Try limits.memory_gib=1.",
    "clip_norm=0": "got 0. Try clip_norm=1.0.",
    "algo=bptt,d_rtrl": "algo: expected one value for a single cell, got bptt,d_rtrl. "
                        "Add -m to sweep over several.",
    "hydra/launcher=joblib": "hydra/launcher: expected one of basic, submitit_local, "
                             "submitit_slurm, got joblib.",
    "hydra/launcher=submitit_slrm": "got submitit_slrm. Did you mean submitit_slurm?",
    "drtrl": "argument: expected KEY=VALUE, got drtrl. See python -m bench --help.",
    "quick": "argument: expected KEY=VALUE, got quick. Did you mean +experiment=quick?",
    "out=runs/ü": "out: expected a value that Hydra can read, got runs/ü. "
                  "It needs quotes of its own: out=\"'runs/ü'\".",
    "größe=3": "argument: expected KEY=VALUE that Hydra can read, got größe=3. Hydra needs quotes "
               "around special characters, beside the shell's: KEY=\"'VALUE'\".",
    "algo=": f"algo: expected one of {ALGOS}, got nothing.",
    "experiment=": "snn, width, got nothing.",
    "--drtrl": "argument: expected KEY=VALUE, got --drtrl. See python -m bench --help.",
    "+experiment=quik": "Did you mean quick?",
    "batchsize=4": "got batchsize. Did you mean batch_size?",
}


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object) -> int:
        raise AssertionError("a cell would run")

    monkeypatch.setattr(sweep, "run", refuse)


def tried_here(module: str, jobs: list[dict[str, object]], **_: object) -> child.Answer:
    """The answers of the child that tries cells, without starting it."""
    return child.Answer(list(probe.looked(json.loads(json.dumps(jobs)))), "", late=False)


@pytest.mark.parametrize("argument", CASES)
def test_message(argument: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "asked", tried_here)
    monkeypatch.setattr(processes, "cap_memory", lambda _: None)
    assert cli.main(argument.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert printed.err.strip().endswith(CASES[argument])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argument", [
    "out=runs/ü", "question=größer?", "question=a(b", "algo=größe"])
def test_the_quotes_that_a_message_shows_work(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key, _, value = argument.partition("=")
    assert cli.main([argument]) == 2
    advice = capsys.readouterr().err.rpartition("quotes of its own: ")[2].removesuffix(".\n")
    (parsed,) = Composer()._parse(shlex.split(advice))
    assert (parsed.key_or_group, getattr(parsed.value(), "text", parsed.value())) == (key, value)


@pytest.mark.parametrize(("text", "complaint"), [
    ("_target_: core.D_RTRL\nwindow: [1, 2\n",
     "{file}, line 3: expected YAML, got a mistake while parsing a flow sequence "
     "(expected ',' or ']', but got '<stream end>')."),
    ("_target_: core.D_RTRL\nwindow: a: b\n",
     "{file}, line 2: expected YAML, got a mistake there "
     "(mapping values are not allowed here)."),
    ("window: ${b\n", "configuration: expected values that Hydra can compose, "
     "got no viable alternative at input '${{b'."),
])
def test_a_mistake_in_a_yaml_names_its_file_and_line(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "algo" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(text)
    assert cli.main(["--config-dir", str(tmp_path), "algo=mine"]) == 2
    assert capsys.readouterr().err == f"error: {complaint.format(file=file)}\n"


def test_one_bad_point_refuses_the_whole_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-m", "batch_size=16,0"]) == 2
    assert capsys.readouterr().err == (
        "error: batch_size: expected a whole number of at least 1, got 0. Try batch_size=64.\n")


@pytest.mark.parametrize(("swept", "came"), [
    ("out=a,b", "a, b"), ("plan=true,false", "True, False"), ("report=true,false", "True, False"),
    ("question=a,b", "a, b"),
])
def test_what_a_command_has_one_of_is_not_swept(
    swept: str, came: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["-m", swept]) == 2
    key = swept.split("=")[0]
    assert capsys.readouterr().err == (f"error: {key}: expected one value for the whole sweep, "
                                       f"got {came}. Start a command for each.\n")


def test_overrides_may_come_before_and_behind_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(cli, "run", lambda *args: asked.append(args) or 0)
    monkeypatch.setattr(cli, "check", lambda *args: asked.append(args) or 0)
    assert cli.main(["algo=bptt", "-m", "seed=1,2"]) == 0
    assert cli.main(["check", "--config-dir", str(tmp_path), "algo=bptt"]) == 0
    assert asked == [(None, ["algo=bptt", "seed=1,2"], True), (str(tmp_path), ["algo=bptt"])]


def test_a_plan_refuses_a_task_that_the_run_would(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"error": "task: n_steps: expected more", "predicted_mib": None, "note": ""}
    monkeypatch.setattr(cli, "trial", lambda *_, **__: {0: found})
    monkeypatch.setattr(plan, "show", lambda *_, **__: None)
    assert cli.main(["plan=true"]) == 2


@pytest.mark.parametrize("planned", [True, False])
def test_a_value_is_tried_once_before_the_cells(
    planned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def found(_: object, depth: str, **__: object) -> dict[int, dict[str, object]]:
        asked.append(depth)
        return {0: {"error": "algo: window: too small", "predicted_mib": None}}

    monkeypatch.setattr(cli, "trial", found)
    monkeypatch.setattr(plan, "show", lambda *_, **__: None)
    assert cli.main([f"plan={planned}", "algo.window=0"]) == 2
    assert capsys.readouterr().err == "error: algo: window: too small\n"
    assert asked == ["memory" if planned else "objects"]


def test_an_interrupt_before_the_cells_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "trial", interrupt)
    assert cli.main([]) == 130
    assert capsys.readouterr().err.startswith("interrupted: ")


# Answers 64 KiB and more before it ends; should nobody take them, it ends by itself.
PROBE = """#!{python}
import json, os, signal, sys
signal.alarm(20)
jobs = json.load(sys.stdin)
with os.fdopen(int(sys.argv[-2]), "w") as answers:
    for _ in jobs:
        answers.write(json.dumps({{"error": "x" * 100_000, "predicted_mib": None}}) + "\\n")
"""


def test_the_answers_of_a_probe_may_be_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cells = cli.cells_of(None, ["n_hidden=8,16"], multirun=True)
    script = tmp_path / "python"
    script.write_text(PROBE.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr(child, "executable", lambda _: str(script))
    found = trial.trial(cells, "objects")
    assert [len(found[place]["error"]) for place in (0, 1)] == [100_000, 100_000]


def test_missing_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(provenance, "gpu_name", lambda: "")
    assert cli.main(["device=gpu"]) == 2
    assert capsys.readouterr().err == (
        "error: device: expected a device of this machine, got gpu. no NVIDIA GPU answers "
        "nvidia-smi on this machine. Try device=cpu.\n")


def test_gpu_cells_of_a_mixed_sweep_are_no_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "gpu_name", lambda: "")
    cells = cli.cells_of(None, ["device=cpu,gpu"], multirun=True)
    assert [measure.why_skipped(cell) for cell in cells] == [
        "", "no NVIDIA GPU answers nvidia-smi on this machine"]


@pytest.mark.parametrize("where", ["a file", "below a file"])
def test_unwritable_out(where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    out = blocked if where == "a file" else blocked / "below"
    assert cli.main([f"out={out}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: out: expected a folder that can be written, got {out}. ")
    assert error.endswith("Try out=DIR with another folder.\n")


def test_config_dir_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--config-dir", "nowhere", "algo=bptt"]) == 2
    assert capsys.readouterr().err == (
        "error: --config-dir: expected a folder of YAML files, got nowhere.\n")


def test_no_traceback_from_the_command_itself(tmp_path: Path) -> None:
    answer = subprocess.run([sys.executable, "-m", "bench", "algo=drtrl"], cwd=tmp_path,
                            env={"PYTHONPATH": str(provenance.ROOT), "PATH": ""},
                            capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr == f"error: {CASES['algo=drtrl']}\n"


def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path) -> None:
    command = subprocess.Popen([sys.executable, "-m", "bench", "--help"], cwd=tmp_path,
                               env={"PYTHONPATH": str(provenance.ROOT), "PATH": ""},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.close()
    assert command.stderr.read() == ""
    command.stderr.close()
    assert command.wait() == cli.BROKEN_PIPE


def test_a_task_too_large_for_this_machine_is_left_to_its_cell(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(config: Config) -> None:
        if config.n_steps > 4:
            raise MemoryError("Unable to allocate 3.12 TiB")
        raise ValueError("n_steps: expected more")

    monkeypatch.setattr(probe, "task_of", made)
    jobs = [{"depth": "task", "config": cell.config} for cell in cli.cells_of(
        None, ["task=random_spikes", "n_steps=8,4"], multirun=True)]
    assert [probe.look(job)["error"] for job in jobs] == ["", "task: n_steps: expected more"]

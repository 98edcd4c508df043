"""Every bad input is one short message saying what was expected, what came and what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli, provenance, sweep

CASES = {
    "algo=drtrl": "algo: expected one of bptt, bptt_checkpointed, bptt_truncated, d_rtrl, "
                  "es_d_rtrl, rtrl, got drtrl. Did you mean d_rtrl?",
    "batching=vmapp": "batching: expected one of manual, single, vmap, got vmapp. "
                      "Did you mean vmap?",
    "batch_size=0": "batch_size: expected a whole number of at least 1, got 0. Try batch_size=64.",
    "batch_size=1.5":
        "batch_size: expected a whole number of at least 1, got 1.5. Try batch_size=64.",
    "n_hidden=abc": "n_hidden: expected a whole number of at least 1, got abc. Try n_hidden=64.",
    "n_hidden=": "n_hidden: expected a whole number of at least 1, got nothing. Try n_hidden=64.",
    "epochs=true": "epochs: expected a whole number of at least 1, got True. Try epochs=5.",
    "+batchsize=4": "batchsize: expected a key of the configuration, got batchsize. "
                    "Did you mean batch_size?",
    "algo.windw=4": "algo.windw: expected one of credit, window, got windw. Did you mean window?",
    "+model.tau_me=4": "model.tau_me: expected one of tau_mem, tau_out, got tau_me. "
                       "Did you mean tau_mem?",
    "+algo.windw=4": "got windw. Did you mean window?",
    "algo.window=[1]": "algo.window: expected int | str, got [1].",
    "model.tau_mem=abc": "model.tau_mem: expected float, got abc.",
    "metric.timing.budget=3": "metric.timing.budget: expected one of budget_s, ci_width, "
                              "max_samples, min_samples, steady_within, warmup_s, got budget. "
                              "Did you mean budget_s?",
    "n_steps=9": "n_steps: expected a multiple of 8 on digits, got 9. Try n_steps=8.",
    "update_every=9": "update_every: expected at most n_steps=8, got 9. "
                      "Use update_every=sequence for one update a sequence.",
    "update_every=sequnce": "update_every: expected sequence, or a whole number of steps of at "
                            "least 1, got sequnce. Did you mean sequence?",
    "lr=-1": "lr: expected a number above 0, got -1. Try lr=1e-3.",
    "lr=nan": "lr: expected a number above 0, got nan. Try lr=1e-3.",
    "dtype=float16": "dtype: expected one of float32, float64, got float16. "
                     "Did you mean float64?",
    "out=[1]": "out: expected the name of a folder, got [1]. Put quotes around it: out=\"'[1]'\".",
    "+plot.mine._target_=no.such_module": "plot.mine: expected _target_: MODULE, one that can be "
                                          "found, got no.such_module. Is its folder on PYTHONPATH?",
    "report=maybe": "report: expected one of true, false, got maybe.",
    "resume=maybe": "resume: expected one of true, false, retry, got maybe.",
    "python=no-such-python": "python: expected a Python interpreter or the name of an "
                             "environment (brainscale), got no-such-python. Give the "
                             "path of the python in a virtual environment.",
    "limits.deadline=3": "limits.deadline: expected one of deadline_s, memory_gib, got deadline. "
                         "Did you mean deadline_s?",
    "limits.deadline_s=-3": "limits.deadline_s: expected a number above 0, got -3. "
                            "Try limits.deadline_s=1e-3.",
    "algo=bptt,d_rtrl": "algo: expected one value for a single cell, got bptt,d_rtrl. "
                        "Add -m to sweep over several.",
    "hydra/launcher=planted": "hydra/launcher: expected one of basic, ray, submitit_local, "
                              "submitit_slurm, got planted.",
    "hydra/launcher=submitit_slrm": "got submitit_slrm. Did you mean submitit_slurm?",
    "hydra/launcher=joblib": "hydra/launcher: expected basic, submitit_local, submitit_slurm or "
                             "ray, got joblib. joblib runs points side by side in processes that "
                             "it uses again, so neither their times nor their memory mean "
                             "anything.",
    "drtrl": "argument: expected KEY=VALUE, got drtrl. "
             "Put quotes around a value with special characters.",
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


@pytest.mark.parametrize("argument", CASES)
def test_message(argument: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main([argument]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert printed.err.strip().endswith(CASES[argument])
    assert list(tmp_path.iterdir()) == []


def test_one_bad_point_refuses_the_whole_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-m", "batch_size=16,0"]) == 2
    assert capsys.readouterr().err == (
        "error: batch_size: expected a whole number of at least 1, got 0. Try batch_size=64.\n")


def test_missing_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(provenance, "gpu_name", lambda: "")
    assert cli.main(["device=gpu"]) == 2
    assert capsys.readouterr().err == (
        "error: device: expected a device of this machine, got gpu. no NVIDIA GPU answers "
        "nvidia-smi on this machine. Try device=cpu.\n")


def test_gpu_cells_of_a_mixed_sweep_are_no_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "gpu_name", lambda: "")
    cells = cli.cells_of(None, ["device=cpu,gpu"], multirun=True)
    assert [sweep.why_skipped(cell) for cell in cells] == [
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

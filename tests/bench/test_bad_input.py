"""Every bad input is one short message saying what was expected, what came and what to do."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from bench import instantiate
from bench.backends.base import Backend, ModelTrainee
from bench.cell import probe
from bench.cell.build import set_up
from bench.command import cli, compose, overrides, plan, trial
from bench.config import Config
from bench.errors import BadInput, Ended, quoted
from bench.sweep import measure, provenance, sweep
from tests.bench import sweeps
from tests.bench.bad_inputs import CASES


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object) -> int:
        raise AssertionError("a cell would run")

    monkeypatch.setattr(sweep, "run", refuse)


@pytest.mark.parametrize("argument", CASES)
def test_message(
    argument: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweeps.in_this_process(monkeypatch.setattr)
    assert cli.main(argument.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert printed.err.strip().endswith(CASES[argument])
    assert list(tmp_path.iterdir()) == []


def test_cells_are_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JAX_DISABLE_JIT", "True")
    assert cli.main(["algo=bptt"]) == 2
    assert capsys.readouterr().err == (
        "error: JAX_DISABLE_JIT: expected no value in the environment; got True. "
        "A cell is one compiled program.\n"
    )


class Mute(Exception):
    def __str__(self) -> str:
        raise KeyError("no words")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SystemExit("I give up"), "SystemExit: I give up"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (Mute(), "Mute"),
    ],
)
def test_whatever_ends_code_of_somebodys_own_is_one_sentence(
    error: BaseException, words: str
) -> None:
    with pytest.raises(BadInput) as refused, quoted("model"):
        raise error
    assert str(refused.value) == f"model: {words}"


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("KeyboardInterrupt()", "got interrupts.Mine. KeyboardInterrupt."),
        ("ImportError('one\\ntwo')", "got interrupts.Mine. ImportError: one two."),
        ("Ended(15)", "SIGTERM"),
    ],
)
def test_an_interruption_is_a_signals_and_no_plug_ins(
    raised: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "interrupts.py").write_text(f"from bench.errors import Ended\nraise {raised}\n")
    monkeypatch.syspath_prepend(tmp_path)
    node, ended = {"_target_": "interrupts.Mine"}, raised.startswith("Ended")
    with pytest.raises(Ended if ended else BadInput) as refused:
        instantiate.made("metric.mine", node)
    assert str(refused.value).endswith(told)
    (cell,) = cli.cells_of(None, [], multirun=False)
    with pytest.raises(Ended) if ended else contextlib.nullcontext():
        set_up(cell.having(model=node).config)


class Loose(Backend):
    """Says what no backend may say."""

    requires = "jax"  # type: ignore[assignment]

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def unsupported(self, *_: object) -> str:
        if self.fails:
            raise KeyError("algo")
        return True  # type: ignore[return-value]

    def trainee(self, model: object, config: Config) -> ModelTrainee:
        raise NotImplementedError


def test_what_a_backend_says_of_a_cell_is_text_and_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = cli.cells_of(None, ["n_hidden=4"], multirun=False)
    cell = cell.having(backend={"_target_": f"{__name__}.Loose"})
    assert measure.why_skipped(cell) == "True"  # a record's reason is text
    job = {"choices": cell.choices, "depth": "objects"}
    config = cell.having(backend={**cell.config.backend, "fails": True}).config
    found = probe.look({**job, "config": config})
    assert found["error"] == "backend: KeyError: 'algo'"
    with pytest.raises(BadInput, match="backend: KeyError"):
        trial.refuse_bad_values({0: found}, ("task",))
    monkeypatch.setattr(Loose, "unsupported", lambda *_: "")
    with pytest.raises(BadInput, match=r"backend.requires: expected a list; got jax\."):
        measure.why_skipped(cell)


def test_a_folder_that_was_deleted_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert cli.main(["--config-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "error: working directory: expected one that is there; got a deleted one. Use another.\n"
    )


@pytest.mark.parametrize("argument", ["out=runs/ü", "question=größer?", "question=a(b"])
def test_the_quotes_that_a_message_asks_for_work(argument: str) -> None:
    with pytest.raises(BadInput, match="Special characters"):
        overrides.parse(argument)
    key, _, value = argument.partition("=")
    parsed = overrides.parse(f"{key}='{value}'")
    assert (parsed.key_or_group, parsed.value()) == (key, value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "_target_: core.D_RTRL\nwindow: [1, 2\n",
            "{file}, line 3: expected YAML; got a mistake while parsing a flow sequence "
            "(expected ',' or ']', but got '<stream end>').",
        ),
        (
            "_target_: core.D_RTRL\nwindow: a: b\n",
            "{file}, line 2: expected YAML; got a mistake there "
            "(mapping values are not allowed here).",
        ),
        (
            "window: ${b\n",
            "window: expected values that Hydra can compose; "
            "got no viable alternative at input '${{b'.",
        ),
    ],
)
def test_a_mistake_in_a_yaml_names_its_file_and_line(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "algo" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(text)
    assert cli.main(["--config-dir", str(tmp_path), "algo=mine"]) == 2
    assert capsys.readouterr().err == f"error: {complaint.format(file=file)}\n"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("1 / 0\n", "ZeroDivisionError: division by zero."),
        ("class M(\n", "SyntaxError: '(' was never closed (broken.py, line 1)."),
        ("raise SystemExit('not today')\n", "SystemExit: not today."),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'."),
    ],
)
def test_a_plug_in_that_cannot_be_imported_says_why(
    source: str,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken.py").write_text(source)
    (tmp_path / "metric").mkdir()
    text = "# @package metric.mine\n_target_: broken.M\n"
    (tmp_path / "metric" / "mine.yaml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["--config-dir", str(tmp_path), "metric=[mine]"]) == 2
    assert capsys.readouterr().err == (
        "error: metric.mine._target_: expected package.module.Name of something that can be "
        f"imported; got broken.M. {complaint}\n"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- 1\n", "metric: expected settings by name; got [1]."),
        (
            "# Größe\n".encode("latin-1"),
            "mine.yaml: expected YAML in UTF-8; got invalid start byte at byte 5.",
        ),
    ],
)
def test_a_file_that_is_no_settings(
    content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metric").mkdir()
    (tmp_path / "metric" / "mine.yaml").write_bytes(content)
    assert cli.main(["--config-dir", str(tmp_path), "metric=[mine]"]) == 2
    assert words in capsys.readouterr().err


def test_a_plug_in_that_changes_folders_takes_the_sweep_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import os\nfrom bench.metrics.health import Health as M\nos.chdir('/')\n"
    (tmp_path / "goes_away.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    cli.cells_of(None, ["+metric.mine={_target_: goes_away.M}"], multirun=False)
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize("by", ["--config-dir", "hydra.searchpath"])
def test_an_option_of_ones_own_has_a_name_of_its_own(
    by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "algo" / "d_rtrl.yaml"
    file.parent.mkdir()
    file.write_text("_target_: core.BPTT\n")
    here = {"--config-dir": [by, str(tmp_path)], "hydra.searchpath": [f"{by}=['{tmp_path}']"]}
    assert cli.main([*here[by], "algo=d_rtrl"]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: expected options of other names than the shipped ones; got {file}. "
        "The shipped one would be taken: rename yours.\n"
    )
    list(compose.Composer(str(compose.CONF)).points([], False))  # no copy, but the folder itself


def test_a_hint_that_cannot_be_evaluated_holds_for_anything() -> None:
    def mistyped(x: sys.no_such_type = 1) -> None:  # type: ignore[name-defined]
        """What a plug-in may look like."""

    instantiate.check_call("metric.mine", mistyped, {"x": 2})
    with pytest.raises(BadInput, match="expected x; got y"):
        instantiate.check_call("metric.mine", mistyped, {"y": 2})


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


def test_no_traceback_from_the_command_itself(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "bench", "algo=drtrl"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(provenance.ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert answer.stderr == f"error: {CASES['algo=drtrl']}\n"


def test_a_task_too_large_for_this_machine_is_left_to_its_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def made(config: Config) -> None:
        if config.n_steps > 4:
            raise MemoryError("Unable to allocate 3.12 TiB")
        raise ValueError("n_steps: expected more")

    monkeypatch.setattr(probe, "task_of", made)
    jobs = [
        {"depth": "task", "config": cell.config}
        for cell in cli.cells_of(None, ["task=random_spikes", "n_steps=8,4"], multirun=True)
    ]
    assert [probe.look(job)["error"] for job in jobs] == ["", "task: n_steps: expected more"]


def test_a_plug_in_that_ends_its_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = cli.cells_of(None, ["task=random_spikes"], multirun=False)
    monkeypatch.setattr(probe, "task_of", sys.exit)
    job = {"depth": "task", "config": cell.config}
    assert probe.look(job)["error"].startswith("task: SystemExit: ")


def test_settings_of_jax_are_the_cells_whatever_a_plug_in_sets_as_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax

    own = ("jax_enable_x64", "jax_disable_jit")
    before = {name: getattr(jax.config, name) for name in own}
    lines = ["import jax", *(f"jax.config.update('{name}', True)" for name in own), "Model = dict"]
    (tmp_path / "sets_flags_of_jax.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    (cell,) = cli.cells_of(None, [], multirun=False)
    try:
        set_up(cell.having(model={"_target_": "sets_flags_of_jax.Model"}).config)
        assert "sets_flags_of_jax" in sys.modules
        assert not any(getattr(jax.config, name) for name in own)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)

"""The conformance suite passes what is right and names what is wrong."""

from __future__ import annotations

import pytest

from bench.check import algorithm
from bench.check import model as check_model
from bench.check import task as check_task
from bench.command import cli
from bench.errors import BadInput
from bench.instantiate import task_of
from bench.tasks.digits import Digits

pytestmark = pytest.mark.usefixtures("kept")

PLANTED = {
    "BatchLeak": ["batching equivalence", "no leak between samples"],
    "ZeroReadout": ["gradient against BPTT", "readout gradient"],
    "NoDecay": ["gradient against BPTT"],
    "PrunesSmall": ["units"],
    "KeepsTraces": ["reset"],
    "Untraceable": [title for title, _ in algorithm.CHECKS],
}


def verdicts(output: str) -> dict[str, str]:
    """What is said of each promise, by its title."""
    *lines, _ = output.splitlines()
    return {line[6:].partition(":")[0]: line[:4].strip() for line in lines}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_fails_by_name(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The checks that it has to fail; that right ones pass all of them is another test.
    monkeypatch.setattr(
        algorithm,
        "CHECKS",
        [(title, check) for title, check in algorithm.CHECKS if title in PLANTED[name]],
    )
    node = {"_target_": f"tests.bench.planted_algorithms.{name}", "window": 1}
    assert algorithm.run(node, name) == 1
    said = capsys.readouterr().out
    assert verdicts(said) == dict.fromkeys(PLANTED[name], "FAIL")
    places = said.count(": RuntimeError: planted, at planted_algorithms.py:64 in window\n")
    assert places == (name == "Untraceable") * len(algorithm.CHECKS)


def test_what_the_core_promises_is_held(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # That what is right passes all checks is shown by the page on plug-ins.
    titles = "window invariance", "gradient against BPTT"
    monkeypatch.setattr(algorithm, "CHECKS", [c for c in algorithm.CHECKS if c[0] in titles])
    assert cli.main(["check", "algo=d_rtrl"]) == 0
    said = capsys.readouterr().out
    assert verdicts(said) == dict.fromkeys(titles, "ok")
    assert "windows of 1, 4 and 6 steps agree" in said
    assert "where recurrence is element-wise agree" in said


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "core.ES_D_RTRL", "decay_or_rank": 1},
        {"_target_": "core.TruncatedBPTT", "window": 2},
    ],
)
def test_some_promise_neither_windows_nor_exactness(node: dict[str, object]) -> None:
    subject = algorithm.Subject(node)
    assert algorithm.window_invariance(subject) == "not promised"
    assert algorithm.exactness(subject).endswith("exact nowhere by declaration")


def test_low_passed_traces_do_not_promise_the_gradient_of_bptt() -> None:
    subject = algorithm.Subject({"_target_": "core.ES_D_RTRL", "decay_or_rank": 0.9})
    assert algorithm.exactness(subject).endswith("exact nowhere by declaration")


def test_what_cannot_be_built_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "algo=drtrl"]) == 2
    assert "Did you mean d_rtrl?" in capsys.readouterr().err
    with pytest.raises(BadInput, match="algo: "):
        algorithm.run({"_target_": "core.D_RTRL", "window": 0}, "d_rtrl")


def test_a_model_is_shown_with_the_gradient_of_every_algorithm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["check", "model=gru", "n_hidden=4", "n_steps=8"]) == 0
    said = capsys.readouterr().out
    assert "layers.0.candidate.weight.weight" in said
    cosines = dict(line.split()[::2][:2] for line in said.splitlines() if " cosine " in line)
    refused = {line.split()[0] for line in said.splitlines() if " refused: " in line}
    assert {*cosines, *refused} == {path.stem for path in (cli.CONF / "algo").glob("*.yaml")}
    assert not refused & {"bptt", "d_rtrl", "es_d_rtrl", "immediate", "rtrl"}
    assert cosines["bptt"] == cosines["rtrl"] == "1.0000,"
    assert 0.5 < float(cosines["d_rtrl"].rstrip(",")) < 1
    assert said.splitlines()[-1] == "gru: traces can train it"


def test_a_model_that_no_trace_can_train_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [
        cell.having(model={"_target_": "tests.bench.planted_groups.Normalised"})
        for cell in cli.cells_of(None, ["n_hidden=4", "algo=d_rtrl,immediate"], multirun=True)
    ]
    assert check_model.run(cells[0], cells) == 1
    said = capsys.readouterr().out
    assert said.startswith("Not representable: ")
    assert "planted_groups.py" in said
    assert "  d_rtrl              refused: " in said
    assert "  immediate           cosine 0." in said
    assert said.splitlines()[-1] == "lif_net: only BPTT and immediate train it"


def test_a_model_without_a_past_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    (cell,) = cli.cells_of(None, ["n_hidden=4"], multirun=False)
    stateless = cell.having(model={"_target_": "tests.bench.planted_groups.Stateless"})
    assert check_model.run(stateless, []) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "lif_net: it has no HiddenState, so there is no past to keep a trace of"
    )


def test_what_a_model_or_a_task_raises_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = cli.cells_of(None, ["n_hidden=4"], multirun=False)
    thrown = cell.having(model={"_target_": "tests.bench.planted_groups.Throwing"})
    with pytest.raises(BadInput, match="model: KeyError: 'channel'"):
        check_model.run(thrown, [thrown])
    xs, ys = next(task_of(cell.config).batches(0))
    for test, words in ((lambda _: {}[3], "KeyError: 3"), (lambda _: (xs, ys + 9), "labels: ")):
        monkeypatch.setattr(Digits, "test", test)
        with pytest.raises(BadInput, match=f"task: {words}"):
            check_task.run(cell)


def test_a_task_is_drawn_and_learned(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "task=breast_cancer", "n_steps=10", "n_hidden=16"]) == 0
    said = capsys.readouterr().out
    assert "inputs   [10, 64, 3]" in said
    assert "choose   91 sequences" in said
    assert "breast_cancer: a GRU reaches accuracy 9" in said.splitlines()[-1]
    assert cli.main(["check", "task=random_spikes"]) == 0
    assert "nothing to learn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task=digits", "dtype=float64"], "check: expected task=NAME, task.KEY=VALUE, n_hidden"),
        (["task=digits,copy_memory", "n_steps=16"], "check: expected one task; got 2 cells."),
        (["task=digits", "n_steps=9"], "n_steps: expected a multiple of 8 on digits"),
        (["algo=d_rtrl", "+algo.windw=4"], "got windw. Did you mean window?"),
        (["model=gru", "algo=bptt"], "check: expected model=NAME, model.KEY=VALUE, n_hidden"),
    ],
)
def test_what_a_check_has_of_its_own_is_not_set(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_promises_of_a_task_are_put_to_the_test(capsys: pytest.CaptureFixture[str]) -> None:
    cell = cli.cells_of(None, ["algo=bptt", "model=gru"], multirun=False)[0]
    node = {"_target_": "tests.bench.planted_groups.Unlabelled"}
    assert check_task.run(cell.having(task=node)) == 1
    said = capsys.readouterr().out
    assert "FAIL  labels: expected 0 to 1; got 5 to 5" in said
    assert "FAIL  the same epoch gives another batch the second time" in said

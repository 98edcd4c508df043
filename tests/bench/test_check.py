"""The conformance suite passes what is right and names what is wrong."""

from __future__ import annotations

import pytest

from bench.check import algorithm
from bench.command import cli
from bench.errors import BadInput

PLANTED = {
    "BatchLeak": ["batching equivalence", "no leak between samples", "gradient against BPTT"],
    "ZeroReadout": ["gradient against BPTT", "readout gradient"],
    "NoDecay": ["gradient against BPTT"],
    "PrunesSmall": ["units"],
    "KeepsTraces": ["reset"],
    "Untraceable": [title for title, _ in algorithm.CHECKS],
}


def failures(output: str) -> list[str]:
    lines = output.splitlines()
    assert len(lines) == len(algorithm.CHECKS) + 1
    return [line.split(":")[0].removeprefix("FAIL").strip() for line in lines
            if line.startswith("FAIL")]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_fails_by_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    node = {"_target_": f"tests.bench.planted_algorithms.{name}", "window": 1}
    assert algorithm.run(node, name) == 1
    assert failures(capsys.readouterr().out) == PLANTED[name]


@pytest.mark.parametrize("arguments", [["algo=d_rtrl"], ["algo=bptt_truncated"]])
def test_the_core_passes(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", *arguments]) == 0
    assert failures(capsys.readouterr().out) == []


def test_promises_of_the_core_are_put_to_the_test(capsys: pytest.CaptureFixture[str]) -> None:
    algorithm.run({"_target_": "core.D_RTRL"}, "d_rtrl")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok    window invariance: windows of 1, 4 and 6") for line in lines)
    assert any("where recurrence is element-wise agree" in line for line in lines)


def test_a_rank_promises_neither_windows_nor_exactness() -> None:
    subject = algorithm.Subject({"_target_": "core.ES_D_RTRL", "decay_or_rank": 1})
    assert algorithm.window_invariance(subject) == "not promised"
    assert algorithm.exactness(subject).endswith("exact nowhere by declaration")


def test_what_cannot_be_built_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "algo=drtrl"]) == 2
    assert "Did you mean d_rtrl?" in capsys.readouterr().err
    with pytest.raises(BadInput, match="algo: "):
        algorithm.run({"_target_": "core.D_RTRL", "window": 0}, "d_rtrl")

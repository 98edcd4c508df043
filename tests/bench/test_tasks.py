"""Tasks: shapes, what a sequence says, what repeats, and files as their authors write them."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from sklearn.metrics import r2_score

from bench.cell.batches import broken
from bench.command import cli
from bench.instantiate import instantiate, task_of
from bench.tasks.base import DrawnTask, Task
from bench.tasks.breast_cancer import BreastCancer
from bench.tasks.copy_memory import CopyMemory
from bench.tasks.delayed_match import DelayedMatch
from bench.tasks.integrator import Integrator
from bench.tasks.mnist1d import MNIST1D, drawn
from bench.tasks.nmnist import NMNIST
from bench.tasks.random_spikes import RandomSpikes
from bench.tasks.shd import SHD
from bench.tasks.sine import Sine


@pytest.fixture(scope="module")
def shd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings each; of the first of the training set every event is known."""
    folder = tmp_path_factory.mktemp("shd")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        with h5py.File(folder / f"shd_{split}.h5", "w") as file:
            times = file.create_dataset("spikes/times", 12, h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", 12, h5py.vlen_dtype(np.uint16))
            file["labels"] = np.arange(12, dtype=np.uint16)
            for i in range(12):
                times[i] = np.sort(rng.random(50)).astype(np.float16)
                units[i] = rng.integers(0, 700, 50)
            if split == "train":
                # Twice the same channel in the same step, and one event after the end.
                times[0] = np.array([0.0, 0.125, 0.1875, 0.96875, 1.25], np.float16)
                units[0] = np.array([0, 7, 9, 699, 3], np.uint16)
    return folder


def event(x: int, y: int, on: int, microseconds: int) -> bytes:
    return bytes([x, y]) + (on << 23 | microseconds).to_bytes(3, "big")


@pytest.fixture(scope="module")
def nmnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One recording a digit; digit d has one event at step d."""
    folder = tmp_path_factory.mktemp("nmnist")
    for split in ("Train", "Test"):
        for digit in range(10):
            place = folder / split / str(digit)
            place.mkdir(parents=True)
            events = event(33, digit, digit % 2, 30_000 * digit + 70) + event(0, 0, 0, 8_000_000)
            (place / "00001.bin").write_bytes(events)
    return folder


def tasks(shd: Path, nmnist: Path) -> dict[str, dict[str, Any]]:
    """The settings of every task that is shipped, with the files of this test."""
    files = {"shd": {"path": str(shd)}, "nmnist": {"path": str(nmnist)}}
    return {
        path.stem: yaml.safe_load(path.read_text()) | files.get(path.stem, {})
        for path in sorted((cli.CONF / "task").glob("*.yaml"))
    }


def test_every_task_keeps_its_promises(shd: Path, nmnist: Path) -> None:
    shipped = tasks(shd, nmnist)
    assert len(shipped) == 13
    for name, node in shipped.items():
        n_steps = 2 * node.get("steps_multiple_of", 8 if name != "mnist1d" else 10)

        def made(seed: int, node: Any = node, n_steps: int = n_steps) -> Task:
            return instantiate(node, n_steps=n_steps, batch_size=5, seed=seed)

        task, again, other = made(1), made(1), made(2)
        batches, same = (list(islice(t.batches(3), 3)) for t in (task, again))
        assert batches, name
        for (xs, ys), (xs2, ys2) in zip(batches, same, strict=True):
            assert broken(task, (xs, ys), (n_steps, 5)) == [], name
            assert np.array_equal(xs, xs2), name
            assert np.array_equal(ys, ys2), name
        assert not np.array_equal(batches[0][0], next(iter(other.batches(3)))[0]), name
        held_out, held_out_2 = task.test(), other.test()
        if held_out is not None:
            xs, ys = held_out
            assert xs.shape == (n_steps, len(ys), task.n_in), name
            assert np.array_equal(xs, held_out_2[0]), name
        assert (task.split() is None) == (held_out is None), name
        if task.mask is not None:
            assert task.mask.shape == (n_steps,), name
            assert task.mask[-1] == 1, name


def test_choices_are_made_by_data_that_nobody_trains_on(shd: Path, nmnist: Path) -> None:
    """No sequence of the validation data is trained on or tested, and every seed has the same."""
    splits = 0
    for name, node in tasks(shd, nmnist).items():
        n_steps = 2 * node.get("steps_multiple_of", 8 if name != "mnist1d" else 10)
        task, other = (instantiate(node, n_steps=n_steps, batch_size=1, seed=s) for s in (1, 2))
        if task.split() is None:
            continue
        splits += 1
        (rest, (xs, ys)), (_, again) = task.split(), other.split()
        assert xs.shape == (n_steps, len(ys), task.n_in), name
        assert np.array_equal(xs, again[0]), name
        if name == "digits_spikes":  # whose spikes are drawn anew each time
            continue
        chosen = {x.tobytes() for x in xs.transpose(1, 0, 2)}
        trained = {x.tobytes() for x, _ in rest.batches(0)}
        everything = {x.tobytes() for x, _ in task.batches(0)}
        if not isinstance(task, DrawnTask):
            assert trained < everything, name
            assert chosen <= everything, name
            # Two patients, or two pictures, may be told by the same numbers.
            assert len(chosen & trained) <= 0.01 * len(chosen), name
        elif name != "copy_memory":  # there are not many different lists
            assert not chosen & trained, name
        tested = {x.tobytes() for x in task.test()[0].transpose(1, 0, 2)}
        if name not in ("copy_memory", "nmnist"):  # the files of this test are the same ones
            assert len(chosen & tested) <= 0.01 * len(chosen), name
    assert splits == 11


def test_only_what_can_be_known_is_asked_for() -> None:
    assert DelayedMatch(7, 2, 0, hold=2, delay=2).mask.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert CopyMemory(9, 2, 0, n_items=2, hold=2, delay=3).mask.tolist() == 7 * [0] + [1, 1]


def test_mnist_1d_is_the_published_data() -> None:
    """Numbers that the package mnist1d 0.0.2 gives with its default arguments."""
    task = MNIST1D(10, 4000, 0)
    xs, ys = task.test()
    assert (xs.shape, task.n_in) == ((10, 1000, 4), 4)
    signals, labels = drawn()
    first = [-0.33200567, -0.47191037, -0.77869708, -1.00974083]
    assert signals[0, :4] == pytest.approx(first, abs=1e-6)
    assert signals[-1, -3:] == pytest.approx([0.65987565, 0.87773435, 1.19315184], abs=1e-6)
    assert labels[:10].tolist() == [2, 6, 4, 5, 6, 6, 6, 0, 3, 1]
    assert np.bincount(labels).tolist() == 10 * [500]
    assert np.array_equal(xs.transpose(1, 0, 2).reshape(1000, 40), signals[4000:])
    assert np.array_equal(ys, labels[4000:])
    with pytest.raises(ValueError, match="n_steps: expected a divisor of 40; got 16"):
        MNIST1D(16, 4, 0)


@pytest.mark.parametrize("delay", [None, 3])
def test_delayed_match_is_about_the_two_stimuli(delay: int | None) -> None:
    xs, ys = DelayedMatch(12, 400, 0, n_stimuli=4, hold=2, delay=delay, noise=0.0).test()
    silent = slice(2, 2 + (delay or 8))
    assert not xs[silent].any()
    assert (xs.sum(2)[[0, 1, silent.stop, 11]] == 1).all()
    sample, probe = xs[0].argmax(1), xs[-1].argmax(1)
    assert np.array_equal(ys, sample == probe)
    assert 0.4 < ys.mean() < 0.6
    # The probe alone says nothing.
    assert all(0.3 < ys[probe == p].mean() < 0.7 for p in range(4))


def test_copy_memory_asks_for_one_of_the_list() -> None:
    task = CopyMemory(10, 64, 0, n_symbols=5, n_items=3, hold=2, delay=1)
    (xs, ys), *_ = task.batches(0)
    assert not xs[6].any()
    asked = xs[-1, :, 5:].argmax(1)
    items = xs[[0, 2, 4], :, :5].argmax(2)
    assert np.array_equal(ys, items[asked, np.arange(64)])
    assert set(asked) == {0, 1, 2}
    assert np.array_equal(xs[7], xs[9])


def test_a_wrong_answer_is_named() -> None:
    numbers, classes = Sine(4, 2, 0), DelayedMatch(7, 2, 0)
    ys = np.zeros((2, 4, 1), np.float32)
    for task, bad, words in (
        (numbers, ys[..., 0], r"answers: expected \[2, 4, 1\] float32; got \[2, 4\] float32"),
        (numbers, ys.astype(float), "got .* float64"),
        (numbers, ys + np.inf, "expected finite numbers"),
        (classes, np.array([0, 2], np.int32), "labels: expected 0 to 1; got 0 to 2"),
        (classes, np.array([0.0, 1.0]), r"answers: expected \[2\] int32; got \[2\] float64"),
    ):
        n_steps = task.n_steps
        xs = np.zeros((n_steps, 2, task.n_in), np.float32)
        (said,) = broken(task, (xs, bad), (n_steps, 2))
        assert re.search(words, said), said


def test_the_score_of_numbers_is_r2_and_that_of_the_best_constant_is_0() -> None:
    task = Integrator(12, 3, 0, n_test=40)
    task.mask = (np.arange(12) >= 5).astype(np.float32)
    asked = task.test()[1].astype(float)
    rng = np.random.default_rng(0)

    def score(answers: np.ndarray) -> float:
        losses = ((answers - asked) ** 2).mean((0, 2))
        return task.answers.score(float(np.average(losses, weights=task.mask)), None, task)

    noisy = asked + rng.normal(0, 0.3, asked.shape)
    true, said = (a[:, 5:].ravel() for a in (asked, noisy))
    assert score(noisy) == pytest.approx(r2_score(true, said), abs=1e-12)
    assert score(np.full_like(asked, true.mean())) == pytest.approx(0, abs=1e-12)
    assert score(np.full_like(asked, true.mean() + 0.01)) < 0
    assert task.guess.loss == pytest.approx(true.var(), rel=1e-12)


def test_an_integrator_adds_up_within_its_bounds() -> None:
    xs, ys = Integrator(60, 1, 0, n_test=50).test()
    assert xs.shape == (60, 50, 1)
    sums = np.zeros(50)
    for x, y in zip(xs[..., 0], ys[..., 0].T, strict=True):
        sums = np.minimum(1, np.maximum(-1, sums + 0.2 * x.astype(float)))
        assert y == pytest.approx(sums, abs=1e-5)
    assert (abs(sums) == 1).any()
    drifts = xs.mean((0, 2))
    assert np.std(drifts) == pytest.approx(np.hypot(0.3, 1 / np.sqrt(60)), rel=0.3)


def test_a_stream_begins_anew_where_it_says_so() -> None:
    task = Integrator(200, 1, 0, reset_rate=0.05, n_test=50)
    xs, ys = task.test()
    assert task.n_in == 2
    cues = xs[..., 1]
    assert set(np.unique(cues)) == {0, 1}
    assert not cues[0].any()
    assert cues[1:].mean() == pytest.approx(0.05, rel=0.1)
    at, sample = np.nonzero(cues)
    fresh = np.clip(0.2 * xs[at, sample, 0], -1, 1)
    assert ys[sample, at, 0] == pytest.approx(fresh, abs=1e-6)
    for at in range(1, 200):
        on = cues[at] == 0
        before, now = ys[on, at - 1, 0], ys[on, at, 0]
        assert now == pytest.approx(np.clip(before + 0.2 * xs[at, on, 0], -1, 1), abs=1e-6)


def test_a_sine_has_the_period_that_the_level_tells() -> None:
    xs, ys = Sine(400, 1, 0, slowest=50, fastest=20, cue=3, n_test=30).test()
    assert (xs[0, :, 1] == 1).all()
    assert not xs[1:, :, 1].any()
    assert not xs[3:].any()
    crossings = ((ys[:, :-1, 0] < 0) & (ys[:, 1:, 0] >= 0)).sum(1)
    frequency = 0.02 + 0.03 * (xs[0, :, 0] + 1) / 2
    assert np.all(abs(crossings - 399 * frequency) <= 1)


@pytest.mark.parametrize(
    ("after", "left"), [(0, None), (3, [0] * 3 + [1] * 5), (0.75, [0] * 6 + [1] * 2)]
)
def test_a_loss_on_the_last_steps(after: float, left: list[int] | None) -> None:
    asked = [f"loss_after={after}", "n_steps=8"]
    for task, own in (("digits", [1] * 8), ("delayed_match", [0] * 6 + [1] * 2)):
        (cell,) = cli.cells_of(None, [*asked, f"task={task}"], multirun=False)
        mask = task_of(cell.config).mask
        if left is None and task == "digits":
            assert mask is None
        else:
            assert mask.tolist() == np.multiply(left or [1] * 8, own).tolist()


def test_random_spikes_are_those_of_one_draw() -> None:
    xs, ys = RandomSpikes(5, 4, 3, n_in=7, n_out=3, rate=0.3).draw(np.random.default_rng(1), 4)
    rng = np.random.default_rng(1)
    assert np.array_equal(xs, rng.random((5, 4, 7), dtype=np.float32) < 0.3)
    assert np.array_equal(ys, rng.integers(0, 3, 4))


def test_breast_cancer_tells_each_quantity_in_turn() -> None:
    task = BreastCancer(20, 32, 0)
    xs, ys = task.test()
    assert xs.shape == (20, 114, 3)
    assert np.array_equal(xs[::2], xs[1::2])
    # The worst radius is larger in malignant tumours, which are class 0.
    assert xs[0, ys == 0, 2].mean() > 0.5 > -0.3 > xs[0, ys == 1, 2].mean()


def test_shd_events_become_spikes(shd: Path) -> None:
    task = SHD(8, 12, 0, path=str(shd), duration_s=1.0, units_per_input=7)
    ((xs, ys),) = task.batches(0)
    spikes = np.argwhere(xs[:, ys == 0])[:, [0, 2]]
    assert spikes.tolist() == [[0, 0], [1, 1], [7, 99]]
    assert sorted(ys) == list(range(12))
    assert len(SHD(8, 2, 0, path=str(shd), n_test=4).test()[1]) == 4


def test_nmnist_events_become_spikes(nmnist: Path) -> None:
    xs, ys = NMNIST(10, 2, 0, path=str(nmnist), pool=1).test()
    for place, digit in enumerate(ys):
        ((step, unit),) = np.argwhere(xs[:, place])
        assert step == digit
        assert unit == (digit % 2) * 34 * 34 + digit * 34 + 33
    pooled, _ = NMNIST(10, 2, 0, path=str(nmnist), pool=17).test()
    assert pooled.shape == (10, 10, 8)
    assert pooled.sum() == 10


def test_a_file_that_is_something_else_is_named(nmnist: Path, shd: Path, tmp_path: Path) -> None:
    for split in ("Train", "Test"):
        for digit in range(10):
            (tmp_path / split / str(digit)).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"path: expected \.bin files below .*Test; got none"):
        NMNIST(8, 2, 0, path=str(tmp_path)).test()
    recording = tmp_path / "Test" / "3" / "1.bin"
    recording.write_bytes(b"1234567")
    with pytest.raises(ValueError, match=r"1\.bin: expected events of 5 bytes; got 7 bytes"):
        NMNIST(8, 2, 0, path=str(tmp_path)).test()
    recording.write_bytes(event(40, 0, 0, 0))
    with pytest.raises(ValueError, match=r"1\.bin: expected pixels below 34; got 40"):
        NMNIST(8, 2, 0, path=str(tmp_path)).test()
    for split in ("train", "test"):
        with h5py.File(tmp_path / f"shd_{split}.h5", "w") as file:
            file["labels"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"shd_test\.h5: expected spikes/times in it; got labels"):
        SHD(8, 2, 0, path=str(tmp_path)).test()

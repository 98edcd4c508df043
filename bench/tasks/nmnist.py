"""N-MNIST: handwritten digits seen by a moving event camera, from files on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.bounds import Count, Positive
from bench.tasks.base import Batch
from bench.tasks.events import EventTask, examples_of
from core.errors import Refusal

SIDE = 34
SOURCE = "https://www.garrickorchard.com/datasets/n-mnist (unpack Train.zip and Test.zip)"


@dataclass(eq=False)
class NMNIST(EventTask):
    """34 x 34 pixels that report darker and brighter, 10 classes (Orchard et al. 2015).

    ``path`` holds the folders ``Train`` and ``Test``, each with ``0`` to ``9``, each with one
    ``.bin`` file a recording. An event is 5 bytes: x, y, and 24 bits of which the highest is the
    polarity and the other 23 are microseconds, most significant first.
    """

    n_train: Count | None = 6000  # of 60,000; None for all
    duration_ms: Positive = 300.0  # of a recording that are used; later events are left out
    pool: Literal[1, 2, 17, 34] = 2  # side of the squares of pixels that share an input

    n_out = 10

    def __post_init__(self) -> None:
        self.n_in = 2 * (SIDE // self.pool) ** 2
        names = [f"{split}/{digit}" for split in ("Train", "Test") for digit in range(10)]
        self._folder = self.found(names, "Train/0 to Train/9 and Test/0 to Test/9", SOURCE)

    def examples(self, split: str) -> Batch:
        folder = self._folder / split.title()
        files = [f for digit in range(10) for f in sorted((folder / str(digit)).glob("*.bin"))]
        if not files:
            do = f"They come from {SOURCE}."
            raise Refusal(f".bin files below {folder}", "none", do, what="path")
        used = [files[i] for i in self.chosen(len(files), split)]
        return examples_of([self._read(f) for f in used], [int(f.parent.name) for f in used])

    def _read(self, file: Path) -> np.ndarray:
        raw = np.fromfile(file, np.uint8)
        if len(raw) % 5:
            came, do = f"{len(raw)} bytes", "Unpack it again."
            raise Refusal("events of 5 bytes", came, do, what=file.name)
        x, y, high, middle, low = raw.reshape(-1, 5).T.astype(np.int64)
        if len(raw) and max(x.max(), y.max()) >= SIDE:
            came, do = max(x.max(), y.max()), "It is no recording of N-MNIST."
            raise Refusal(f"pixels below {SIDE}", came, do, what=file.name)
        side = SIDE // self.pool
        pixel = (high >> 7) * side**2 + (y // self.pool) * side + x // self.pool
        microseconds = (high & 0x7F) << 16 | middle << 8 | low
        return self.events(microseconds, pixel, 1e3 * self.duration_ms)

"""N-MNIST: handwritten digits seen by a moving event camera, from files on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.bounds import Count, Positive
from bench.tasks.events import EventTask, Recordings, chosen, recordings
from core.errors import Refusal

SIDE = 34
SOURCE = "https://www.garrickorchard.com/datasets/n-mnist (unpack Train.zip and Test.zip)"


class NMNIST(EventTask):
    """34 x 34 pixels that report darker and brighter, 10 classes (Orchard et al. 2015).

    ``path`` holds the folders ``Train`` and ``Test``, each with ``0`` to ``9``, each with one
    ``.bin`` file a recording. An event is 5 bytes: x, y, and 24 bits of which the highest is the
    polarity and the other 23 are microseconds, most significant first.

    Args:
        n_steps: time steps, T, which divide ``duration_ms``.
        batch_size: sequences a batch, B.
        seed: of the order of the recordings.
        path: folder of ``Train`` and ``Test``.
        duration_ms: milliseconds of a recording that are used; later events are left out.
        pool: side of the squares of pixels that share an input; 1, 2, 17 or 34.
        n_train: recordings to train on, drawn once and for all; None for all 60,000.
        n_test: recordings held out, of 10,000; they are held as one array of 0 and 1.
    """

    n_out = 10

    def __init__(
        self,
        n_steps: int,
        batch_size: int,
        seed: int,
        path: str | None = None,
        duration_ms: Positive = 300.0,
        pool: int = 2,
        n_train: Count | None = 6000,
        n_test: Count | None = 256,
    ) -> None:
        super().__init__(n_steps, batch_size, seed)
        if pool < 1 or SIDE % pool:
            raise Refusal(f"a divisor of {SIDE}", pool, what="pool")
        self.n_in = 2 * (SIDE // pool) ** 2
        self._pool = pool
        self._duration_us = 1e3 * duration_ms
        self._limits = {"train": n_train, "test": n_test}
        folder = Path(path).expanduser() if path else None
        self._folders = {"train": folder / "Train", "test": folder / "Test"} if folder else {}
        wanted = [place / str(digit) for place in self._folders.values() for digit in range(10)]
        missing = [place for place in wanted if not place.is_dir()]
        if missing or not folder:
            came = f"no {missing[0].relative_to(folder)} in {path}" if folder else "nothing"
            raise Refusal(
                "a folder with Train/0 to Train/9 and Test/0 to Test/9",
                came,
                f"Set task.path=DIR; the files come from {SOURCE}.",
                what="path",
            )

    def read(self, split: str) -> Recordings:
        files = [
            (file, digit)
            for digit in range(10)
            for file in sorted((self._folders[split] / str(digit)).glob("*.bin"))
        ]
        if not files:
            raise Refusal(
                f".bin files below {self._folders[split]}",
                "none",
                f"They come from {SOURCE}.",
                what="path",
            )
        index = chosen(len(files), self._limits[split])
        return recordings(
            [self._events(files[i][0]) for i in index], np.array([files[i][1] for i in index])
        )

    def _events(self, file: Path) -> tuple[np.ndarray, np.ndarray]:
        raw = np.fromfile(file, np.uint8)
        if len(raw) % 5:
            raise Refusal(
                "events of 5 bytes", f"{len(raw)} bytes", "Unpack it again.", what=file.name
            )
        x, y, high, middle, low = raw.reshape(-1, 5).T.astype(np.int64)
        if len(raw) and max(x.max(), y.max()) >= SIDE:
            raise Refusal(
                f"pixels below {SIDE}",
                max(x.max(), y.max()),
                "It is no recording of N-MNIST.",
                what=file.name,
            )
        microseconds = (high & 0x7F) << 16 | middle << 8 | low
        kept = microseconds < self._duration_us
        steps = (microseconds[kept] / self._duration_us * self._n_steps).astype(np.int64)
        side = SIDE // self._pool
        pixel = (y // self._pool) * side + x // self._pool
        return steps, ((high >> 7) * side**2 + pixel)[kept]

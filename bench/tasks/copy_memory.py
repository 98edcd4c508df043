"""Copy memory: keep a list of symbols over a delay, then give back the one that is asked for."""

from dataclasses import dataclass

import numpy as np

from bench.bounds import Count
from bench.tasks.base import Batch, Delay, DrawnTask, Several, question


@dataclass(eq=False)
class CopyMemory(DrawnTask):
    """Symbols one after the other, a silent delay, and a cue that asks for one place of the list.

    The copy-memory task with one label a sequence: as any place may be asked for, the whole list
    has to be kept, and it is read out at one place drawn at random. Only the steps of the cue are
    asked for and trained on; it lasts to the end. Accuracy is that of the last step.
    """

    n_symbols: Several = 8  # different symbols, one input and one class each
    n_items: Count = 3  # symbols in a list; as many inputs more carry the cue
    hold: Count = 1  # steps that each symbol is shown, and the cue at least
    delay: Delay = None  # silent steps before the cue

    target = 0.9

    def __post_init__(self) -> None:
        self.n_in, self.n_out = self.n_symbols + self.n_items, self.n_symbols
        self._cue, self.mask = question(self.n_steps, self.hold, self.delay, self.n_items)

    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        items = rng.integers(0, self.n_out, (self.n_items, n))
        asked = rng.integers(0, self.n_items, n)
        xs = np.zeros((self.n_steps, n, self.n_in), np.float32)
        every = np.arange(n)
        for place, symbol in enumerate(items):
            xs[place * self.hold : (place + 1) * self.hold, every, symbol] = 1
        xs[self._cue :, every, self.n_out + asked] = 1
        return xs, items[asked, every].astype(np.int32)

"""Copy memory: keep a list of symbols over a delay, then give back the one that is asked for."""

from dataclasses import dataclass

import numpy as np

from bench.tasks.base import Batch, DrawnTask, delay_of
from core.errors import Refusal


@dataclass(eq=False)
class CopyMemory(DrawnTask):
    """Symbols one after the other, a silent delay, and a cue that asks for one place of the list.

    The copy-memory task with one label a sequence: as any place may be asked for, the whole list
    has to be kept, and it is read out at one place drawn at random. Only the steps of the cue are
    asked for and trained on; it lasts to the end. Accuracy is that of the last step.
    """

    n_symbols: int = 8  # different symbols, one input and one class each
    n_items: int = 3  # symbols in a list; as many inputs more carry the cue
    hold: int = 1  # steps that each symbol is shown, and the cue at least
    delay: int | None = None  # silent steps before the cue; None for as many as fit

    target = 0.9

    def __post_init__(self) -> None:
        if self.n_symbols < 2 or self.n_items < 1:
            raise Refusal(
                "at least 2 symbols and 1 item",
                f"{self.n_symbols} and {self.n_items}",
                what="n_symbols, n_items",
            )
        self.n_in, self.n_out = self.n_symbols + self.n_items, self.n_symbols
        silent = delay_of(self.n_steps, self.delay, shown=(self.n_items + 1) * self.hold)
        self._cue = self.n_items * self.hold + silent
        self.mask = (np.arange(self.n_steps) >= self._cue).astype(np.float32)

    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        items = rng.integers(0, self.n_out, (self.n_items, n))
        asked = rng.integers(0, self.n_items, n)
        xs = np.zeros((self.n_steps, n, self.n_in), np.float32)
        every = np.arange(n)
        for place, symbol in enumerate(items):
            xs[place * self.hold : (place + 1) * self.hold, every, symbol] = 1
        xs[self._cue :, every, self.n_out + asked] = 1
        return xs, items[asked, every].astype(np.int32)

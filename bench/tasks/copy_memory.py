"""Copy memory: keep a list of symbols over a delay, then give back the one that is asked for."""

from __future__ import annotations

import numpy as np

from bench.bounds import Count
from bench.tasks.base import Batch, DrawnTask, delay_of
from core.errors import Refusal


class CopyMemory(DrawnTask):
    """Symbols one after the other, a silent delay, and a cue that asks for one place of the list.

    The copy-memory task with one label a sequence: as any place may be asked for, the whole list
    has to be kept, and it is read out at one place drawn at random. Only the steps of the cue are
    asked for and trained on. Accuracy is that of the last step.

    Args:
        n_steps: time steps, T: at least ``(n_items + 1) hold`` and the delay. The cue lasts to the
            end.
        batch_size: sequences a batch, B.
        seed: of the sequences that are trained on.
        n_symbols: different symbols, one input and one class each.
        n_items: symbols in a list; as many inputs more carry the cue.
        hold: steps that each symbol is shown, and the cue at least.
        delay: silent steps before the cue; None for as many as fit.
        n_batches: fresh batches an epoch.
        n_test: held-out sequences, the same for every seed.
    """

    target = 0.9

    def __init__(
        self,
        n_steps: int,
        batch_size: int,
        seed: int,
        n_symbols: int = 8,
        n_items: int = 3,
        hold: int = 1,
        delay: int | None = None,
        n_batches: Count = 20,
        n_test: Count = 512,
    ) -> None:
        super().__init__(n_steps, batch_size, seed, n_batches, n_test)
        if n_symbols < 2 or n_items < 1:
            raise Refusal(
                "at least 2 symbols and 1 item",
                f"{n_symbols} and {n_items}",
                what="n_symbols, n_items",
            )
        self.n_in = n_symbols + n_items
        self.n_out = n_symbols
        self._delay = delay_of(n_steps, delay, shown=(n_items + 1) * hold)
        self._n_items = n_items
        self._hold = hold
        self.mask = (np.arange(n_steps) >= n_items * hold + self._delay).astype(np.float32)

    def _draw(self, rng: np.random.Generator, n: int) -> Batch:
        items = rng.integers(0, self.n_out, (self._n_items, n))
        asked = rng.integers(0, self._n_items, n)
        xs = np.zeros((self._n_steps, n, self.n_in), np.float32)
        every = np.arange(n)
        for place, symbol in enumerate(items):
            xs[place * self._hold : (place + 1) * self._hold, every, symbol] = 1
        xs[self._n_items * self._hold + self._delay :, every, self.n_out + asked] = 1
        return xs, items[asked, every].astype(np.int32)

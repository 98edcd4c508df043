"""A function over brainstate states, compiled once and run on explicit values.

The states travel as the first argument and are donated, as in a training loop that owns its
``jit``: nothing is held twice, and the phases of getting there are timed apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import brainstate
import jax
import jax.monitoring
from jax.experimental.compilation_cache import compilation_cache

from bench.cell.trees import owned

Phase = Callable[[str], None]

_compiled = 0


def _heard(event: str, duration_secs: float, **_: Any) -> None:
    global _compiled
    _compiled += event == "/jax/core/compile/backend_compile_duration"


jax.monitoring.register_event_duration_secs_listener(_heard)


def compilations() -> int:
    """How many programs XLA has compiled in this process, from the import of this module on."""
    return _compiled


@contextmanager
def kept() -> Iterator[None]:
    """What is compiled here, the cells of a sweep keep for one another: nobody times it."""
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()  # whether there is one is asked once
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


class Program:
    """``fun`` compiled for arguments like ``example``; it may read and write brainstate states.

    Args:
        fun: a function of arrays.
        example: arguments of the shapes that it will be called with.
        on_phase: told ``trace``, ``lower`` and ``compile`` as they begin; ``seconds`` has what each
            took.
        reads_only: the function leaves its states as they are; they are then neither donated nor
            returned.
        sharding: how the values of the states lie on several devices; None on one. The arguments
            of ``example`` then say by their own sharding how they are split.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        *example: Any,
        on_phase: Phase = lambda phase: None,
        reads_only: bool = False,
        sharding: jax.sharding.Sharding | None = None,
    ) -> None:
        self.seconds: dict[str, float] = {}
        self._sharding = sharding
        stateful = brainstate.transform.StatefulFunction(
            fun, name=fun.__name__, return_only_write=False
        )

        def call(values: Any, *args: Any) -> Any:
            new_values, outputs = stateful.jaxpr_call(values, *args)
            return ((), outputs) if reads_only else (tuple(new_values), outputs)

        with self._timed("trace", on_phase):
            stateful.make_jaxpr(*example)
            self.states = tuple(stateful.get_states(*example))
            self.jaxpr = stateful.get_jaxpr(*example)
            compiled = jax.jit(
                call,
                donate_argnums=() if reads_only else (0,),
                # The new values must lie as the old ones did: they are the next step's arguments.
                out_shardings=None if sharding is None else (sharding, None),
            )
            traced = compiled.trace(self.values(), *example)
            self.output_shapes = stateful.get_out_shapes(*example)[0]
        with self._timed("lower", on_phase):
            lowered = traced.lower()
        with self._timed("compile", on_phase):
            self.compiled = lowered.compile()

    def values(self) -> Any:
        """Fresh copies of the values that the states hold now; the program may consume them."""
        values = tuple(owned(state.value) for state in self.states)
        return jax.device_put(values, self._sharding or jax.devices()[0])

    def store(self, values: Any) -> None:
        """Writes values back into the states."""
        for state, value in zip(self.states, values, strict=True):
            state.value = value

    def __call__(self, values: Any, *args: Any) -> tuple[Any, Any]:
        """Runs on ``values``, which are consumed; returns the new values and the outputs."""
        return self.compiled(values, *args)

    def memory(self) -> dict[str, float]:
        """XLA's account of the program in MiB: argument, output, temp and alias."""
        account = self.compiled.memory_analysis()
        return {
            name: getattr(account, f"{name}_size_in_bytes") / 2**20
            for name in ("argument", "output", "temp", "alias")
        }

    def memory_total(self) -> float:
        """MiB that a call needs, by that account: what is donated is not held twice."""
        account = self.memory()
        return account["argument"] + account["output"] + account["temp"] - account["alias"]

    @contextmanager
    def _timed(self, phase: str, on_phase: Phase) -> Iterator[None]:
        on_phase(phase)
        started = time.perf_counter()
        yield
        self.seconds[f"{phase}_s"] = time.perf_counter() - started

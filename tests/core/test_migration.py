"""Programs written for the public library run on the core, and give what they should."""

from __future__ import annotations

from typing import Any

import brainstate
import braintrace
import numpy as np
import pytest

import core
import core.braintrace as ours

from .cases import run
from .migration import PROGRAMS, XS, YS, Program, filled, ids, tokens
from .references import assert_close, named, relative_error, squared_error
from .test_peer import pytestmark as pytestmark  # the same warnings of the library


def test_there_are_thirty() -> None:
    assert len({p.name for p in PROGRAMS}) == len(PROGRAMS) == 30


def driver(program: Program, make: Any) -> dict[str, Any]:
    """What `core.gradient` says of the program's model."""
    model = filled(program.model(ours))
    algo = make(model)
    xs = ids() if program.model is tokens else XS
    core.initialise(algo, xs[0])
    return named(core.gradient(algo, squared_error, xs, YS, per_step_targets=True).grads)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_a_program(program: Program) -> None:
    with brainstate.random.seed_context(0):
        if program.same_as == "library":
            found, wanted = run(lambda: (program.run(ours), program.run(braintrace)))
            # The library leaves at zero what reaches no state, as readouts do.
            wanted["grads"] = {k: g for k, g in wanted.get("grads", {}).items() if np.any(g)}
            assert wanted["grads"] or "outs" in wanted
            assert all(np.any(found["grads"][k]) for k in wanted["grads"])
            for k, g in wanted.pop("grads").items():
                if not (program.algorithm in LOW_PASSED and k.endswith("bias")):
                    assert relative_error(found["grads"][k], g) < 1e-12, k
            for k, value in wanted.items():
                assert relative_error(found[k], value) < 1e-12, k
        elif program.same_as == "learns":
            losses = run(lambda: program.run(ours))["losses"]
            assert losses[-3:].mean() < 0.9 * losses[:3].mean()
        else:
            make = core.BPTT if program.same_as == "bptt" else core.D_RTRL
            found, wanted = run(lambda: (program.run(ours)["grads"], driver(program, make)))
            assert all(np.any(g) for g in wanted.values())
            assert_close(found, wanted)


LOW_PASSED = ("IODimVjpAlgorithm", "pp_prop", "ES_D_RTRL")  # their biases are, here

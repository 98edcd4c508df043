"""`core.nn`: the tutorials' names, imported when asked for."""

from __future__ import annotations

import subprocess
import sys

import brainpy.state
import brainstate
import pytest

import core


def test_names_are_the_libraries_own_parts() -> None:
    homes = {name: getattr(core.nn, name) for name in dir(core.nn)}
    assert len(homes) >= 20
    for name, part in homes.items():
        # What both have is brainpy.state's: brainstate keeps a deprecated alias.
        assert part is getattr(brainpy.state if name in dir(brainpy.state) else brainstate.nn, name)
    assert {"Linear", "GRUCell", "LSTMCell", "MGUCell", "ValinaRNNCell", "LIF", "ALIF",
            "LeakyRateReadout"} <= homes.keys()


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Lineal'; it has ALIF, .*Linear"):
        _ = core.nn.Lineal


def test_importing_the_core_starts_no_backend() -> None:
    """`import brainpy.state` would: it is left to the first use of one of its parts."""
    program = (
        "import core, sys; from jax._src import xla_bridge as b; "
        "assert not b.backends_are_initialized(); assert 'brainpy.state' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

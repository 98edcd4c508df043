"""`core.nn`: the tutorials' names, imported when asked for."""

from __future__ import annotations

import subprocess
import sys

import brainpy.state
import brainstate
import pytest

import core


def test_names_are_the_libraries_own_parts() -> None:
    assert core.nn.Linear is brainstate.nn.Linear
    assert core.nn.LIF is brainpy.state.LIF  # brainstate keeps a deprecated alias
    assert core.nn.LayerNorm is brainstate.nn.LayerNorm
    for name in dir(core.nn):
        assert getattr(core.nn, name).__name__ == name


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

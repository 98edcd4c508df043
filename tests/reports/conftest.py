"""Makes `synthetic_records` importable for the tests beside it, and sweeps on disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from synthetic_records import ALGOS, grid, record, write_sweep


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over steps, width, batch and batching, with failures, a sick cell and markup in
    names.
    """
    records = grid(
        algo=ALGOS,
        batching=["manual", "vmap"],
        n_hidden=[64, 128, 256],
        n_steps=[8, 16, 64, 256],
        repeat=[0],
    )
    records += grid(
        algo=ALGOS,
        batching=["manual", "vmap", "single"],
        batch_size=[1, 4, 64],
        n_hidden=[128],
        seed=[0, 1, 2],
    )
    records += [
        record(
            "d_rtrl",
            batch_size=4096,
            n_hidden=512,
            status="oom",
            reason="compile: RESOURCE_EXHAUSTED 4.2 GiB",
        ),
        record("es_d_rtrl", n_hidden=32, health="loss stuck at ln(10)"),
        record(
            "bptt",
            n_hidden=33,
            status="crashed",
            reason="</script><script>window.injected = 1</script>",
        ),
    ]
    folder = tmp_path_factory.mktemp("sweep")
    return write_sweep(
        folder,
        records,
        experiment="demo",
        question="Which algorithm is fastest?",
        planned=[{"key": "0" * 16, "row": {"algo": "bptt", "n_steps": 1000}}],
    )

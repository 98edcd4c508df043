"""Work of a training step and how close the step comes to this machine's floor for it."""

from __future__ import annotations

from typing import Any

from bench.cell.operations import Work as Count
from bench.cell.operations import work_of
from bench.metrics.base import Metric, Run

MIB = 2**20


class Work(Metric):
    """Operations and bytes from the traced program; the floor is measured once a sweep.

    The floor of a step is the larger of two times: its matrix products at the rate of one large
    product, and its arguments and outputs at the rate of one large copy.
    """

    def measure(self, run: Run) -> dict[str, Any]:
        total, traffic = Count(), 0.0
        for program, times in run.stepper.calls:
            total = total.plus(work_of(program.jaxpr), times)
            account = program.memory()
            traffic += times * (account["argument"] + account["output"]) * MIB
        return {
            "metrics": {
                "flops_per_step": total.flops,
                "product_flops_per_step": total.product_flops,
                "bytes_per_step": total.bytes,
                **self._against_floor(run, total, traffic),
            },
        }

    def _against_floor(self, run: Run, work: Count, traffic: float) -> dict[str, float | None]:
        measured = run.parts.get("metrics", {}).get("step_time_ms")
        if not run.rates:
            return {"floor_ms": None, "limit_ratio": None}
        floor_ms = 1e3 * max(work.product_flops / run.rates["product_flops_per_s"],
                             traffic / run.rates["copy_bytes_per_s"])
        return {"floor_ms": floor_ms,
                "limit_ratio": measured / floor_ms if measured and floor_ms else None}

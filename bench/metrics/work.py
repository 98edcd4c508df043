"""Work of a training step."""

from typing import Any

from bench.metrics.base import Metric, Run

MIB = 2**20


class Work(Metric):
    """Operations and bytes from the traced program; the sweep makes the step's floor of them."""

    of_process = False

    def measure(self, run: Run) -> dict[str, Any]:
        from bench.cell import operations

        total, traffic = operations.Work(), 0.0
        for program, times in run.stepper.calls:
            total = total.plus(operations.work_of(program.jaxpr), times)
            account = program.memory()
            traffic += times * (account["argument"] + account["output"]) * MIB
        return {
            "metrics": {
                "flops_per_step": total.flops,
                "product_flops_per_step": total.product_flops,
                "bytes_per_step": total.bytes,
                "moved_bytes_per_step": traffic,
            }
        }

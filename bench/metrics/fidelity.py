"""How close an algorithm's gradient is to BPTT's on the same batch and weights."""

from dataclasses import dataclass
from typing import Any

from bench.bounds import Count
from bench.metrics.base import Metric, Run


@dataclass
class Fidelity(Metric):
    """Cosine and relative error, of all weights together and of each, in float64."""

    of_process = False

    max_samples: Count = 32  # sequences of the first batch that are compared

    def measure(self, run: Run) -> dict[str, Any]:
        from bench.cell.gradients import EXACT, cosine_and_error, float64_gradients

        ours, exact = float64_gradients(
            run.build, run.batch, {}, EXACT, max_samples=self.max_samples
        )
        together, columns = cosine_and_error(ours, exact), ("grad_cosine", "grad_rel_error")
        each = {name: cosine_and_error(ours, exact, [name]) for name in sorted(exact)}
        return {
            "metrics": dict(zip(columns, together, strict=True)),
            "fidelity": {
                name: {"cosine": cosine, "rel_error": error}
                for name, (cosine, error) in each.items()
            },
        }

"""How close an algorithm's gradient is to BPTT's on the same batch and weights."""

from dataclasses import dataclass
from typing import Any

from bench.bounds import Count
from bench.metrics.base import Metric, Run


@dataclass
class Fidelity(Metric):
    """Cosine and relative error, of all weights together and of each, in float64."""

    max_samples: Count = 32  # sequences of the first batch that are compared

    def measure(self, run: Run) -> dict[str, Any]:
        from bench.cell.gradients import EXACT, cosine, float64_gradients, joined, relative_error

        theirs, exact = float64_gradients(
            run.build, run.batch, {}, EXACT, max_samples=self.max_samples
        )
        names = sorted(exact)
        ours, truth = joined(theirs, names), joined(exact, names)
        return {
            "metrics": {
                "grad_cosine": cosine(ours, truth),
                "grad_rel_error": relative_error(ours, truth),
            },
            "fidelity": {
                name: {
                    "cosine": cosine(theirs[name], exact[name]),
                    "rel_error": relative_error(theirs[name], exact[name]),
                }
                for name in names
            },
        }

"""Agreement before speed: another library's gradient against the core's of the same definition."""

from dataclasses import dataclass
from typing import Any

from bench.bounds import Count, NotNegative
from bench.instantiate import instantiate
from bench.metrics.base import Metric, Run


@dataclass
class Agreement(Metric):
    """Relative error to the core's gradient on the weights that the backend says it trains alike.

    Two implementations that compute different things cannot be raced: beyond the tolerance the
    cell is invalid. What a backend does by another convention is left out of the comparison, and
    named in the cell's row.
    """

    # Not that it does, but without agreement no process may show its times.
    of_process = True

    tolerance: NotNegative = 1e-8  # largest relative error, in float64
    max_samples: Count = 8  # sequences of the first batch that are compared

    def measure(self, run: Run) -> dict[str, Any]:
        from bench.cell.gradients import EXACT, cosine_and_error, float64_gradients

        if run.choices["backend"] == "core":
            return {}
        comparison = instantiate(run.config.backend).compared(run.config)
        core = {"backend": EXACT["backend"], **comparison.core}
        theirs, ours = float64_gradients(
            run.build, run.batch, {}, core, max_samples=self.max_samples
        )
        names = sorted(run.trainee.comparable(list(ours), run.batch[0]))
        if not names:
            return {"invalid": "no weight is trained by the same definition as the core's"}
        _, error = cosine_and_error(theirs, ours, names)
        others = sorted(set(ours) - set(names))
        words = [comparison.words, f"not compared: {', '.join(others)}" if others else ""]
        parts: dict[str, Any] = {
            "metrics": {"agreement_rel_error": error, "agreement_weights": len(names)},
            "note": "; ".join(filter(None, words)),
        }
        if error is None or not error <= self.tolerance:
            parts["invalid"] = (
                f"gradient differs from the core's by {error} on "
                f"{', '.join(names)}: not the same computation"
            )
        return parts

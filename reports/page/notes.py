"""How the numbers of this report were made, as far as that is not the same for every report."""

from __future__ import annotations

from collections import Counter

from reports.judge.cost import LEAST_BAR, UNKNOWN_BAR
from reports.records import asked
from reports.study import Study


def notes(study: Study) -> list[str]:
    """Sentences, each of what these records show."""
    facts, ok = study.facts, study.ok
    out = [_noise(study)]
    memory = {"memory_peak_mib": "the measured peak of the process or device",
              "memory_xla_mib": "XLA's account of the compiled step, for measured peaks this small "
              "are mostly the allocator's"}  # fmt: skip
    out += [
        f"Memory is {memory[m]}." for m in sorted({s.memory for s in facts.settings}) if m in memory
    ]
    sources = sorted(
        {str((r.get("memory") or {}).get("source") or "") for r in study.sweeps.records} - {""}
    )
    if sources:
        out.append(f"Peaks were read from {', '.join(sources)}.")
    versions = Counter(
        str(((r.get("provenance") or {}).get("versions") or {}).get("jax") or "unknown")
        for r in study.sweeps.records
        if r["status"] == "ok"
    )
    if len(versions) > 1:
        told = ", ".join(f"{n} cells on {v}" for v, n in versions.most_common())
        out.append(f"Not all ran on the same version of jax: {told}.")
    below = int(ok["limit_ratio"].lt(1).sum())
    if below:
        out.append(
            f"In {below} of {len(ok)} cells a step took less than the machine's floor (limit_ratio "
            "below 1): the floor was measured while more was running."
        )
    if not any(asked(r, "health") for r in study.sweeps.records):
        out.append("Health was not measured.")
    return out


def _noise(study: Study) -> str:
    noise = study.facts.noise
    if noise is None:
        return (
            "Too little was repeated to know this machine's noise, so times within "
            f"{UNKNOWN_BAR:.0%} count as within noise; repeats=5 would tell."
        )
    return (
        f"Processes that ran one program differ by {noise.sd:.1%} in time (standard deviation, "
        f"{noise.degrees} degrees of freedom). Times are within noise when they differ by less "
        f"than {LEAST_BAR:.0%} or not significantly (1 % over all pairs)."
    )

"""How often a comparison of two sweeps is wrong, and how often right: simulated on rough machines.

    python -m tests.benchmarks.error_rates [--pairs 2000]

For each kind of noise: of how many pairs of equal sweeps an alarm is raised, and in how many of
them one cell that is slower by 5, 10, 20 or 50 % is found. Processes follow one another as they do
in two sweeps: base first, in each sweep one repeat of every cell after the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from reports.compare.times import BAR, decide

SLOWER = (0.05, 0.1, 0.2, 0.5)
SIZES = ((3, 1), (3, 12), (5, 12), (8, 3))  # repeats, cells

Rng = np.random.Generator


def correlated(rng: Rng, n: int, memory: float = 0.7) -> np.ndarray:
    """[n] a first-order autoregressive process with a standard deviation of 3 %."""
    out = 0.03 * rng.standard_normal(n)
    for i in range(1, n):
        out[i] = memory * out[i - 1] + np.sqrt(1 - memory**2) * out[i]
    return out


# Logarithms of n processes in the order in which they ran, half of them base's.
NOISE: dict[str, Callable[[Rng, int], np.ndarray]] = {
    "normal, 3 %": lambda rng, n: 0.03 * rng.standard_normal(n),
    "normal, 6 %": lambda rng, n: 0.06 * rng.standard_normal(n),
    "heavy tails (t of 3 degrees)": lambda rng, n: 0.02 * rng.standard_t(3, n),
    "two speeds, 12 % apart": lambda rng, n: (
        0.12 * (rng.random(n) < 0.3) + 0.01 * rng.standard_normal(n)),
    "spikes (8 % of processes)": lambda rng, n: (
        0.02 * rng.standard_normal(n) + (rng.random(n) < 0.08) * rng.exponential(0.5, n)),
    "drift of 6 %": lambda rng, n: 0.06 * np.arange(n) / n + 0.015 * rng.standard_normal(n),
    "a mood of each sweep, 3 %": lambda rng, n: (
        np.repeat(0.03 * rng.standard_normal(2), n // 2) + 0.015 * rng.standard_normal(n)),
    "correlated (AR 0.7)": correlated,
}


def sweeps(noise: str, rng: Rng, repeats: int, cells: int) -> np.ndarray:
    """[side, cell, repeat] logarithms of times of two equal sweeps."""
    drawn = NOISE[noise](rng, 2 * repeats * cells)
    return drawn.reshape(2, repeats, cells).transpose(0, 2, 1)


def alarms(logs: np.ndarray) -> list[bool]:
    """Which cells are called worse."""
    return [one.verdict == "worse" for one in decide(list(logs.transpose(1, 0, 2)), BAR)]


def rates(noise: str, repeats: int, cells: int, pairs: int) -> list[float]:
    """Shares of `pairs`: any false alarm, then the slower cell found, one for each slowdown."""
    rng = np.random.default_rng(0)
    false, found = 0, np.zeros(len(SLOWER))
    for _ in range(pairs):
        logs = sweeps(noise, rng, repeats, cells)
        false += any(alarms(logs))
    for _ in range(max(pairs // 10, 1)):
        logs = sweeps(noise, rng, repeats, cells)
        for i, share in enumerate(SLOWER):
            slower = logs.copy()
            slower[1, 0] += np.log1p(share)
            found[i] += alarms(slower)[0]
    return [false / pairs, *(found / max(pairs // 10, 1))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000, help="pairs of sweeps of each kind")
    pairs = parser.parse_args().pairs
    print("| noise | repeats | cells | false alarms | "
          + " | ".join(f"{share:.0%} found" for share in SLOWER) + " |")
    print("|---|---:|---:|" + "---:|" * (1 + len(SLOWER)))
    for noise in NOISE:
        for repeats, cells in SIZES:
            false, *found = rates(noise, repeats, cells, pairs)
            print(f"| {noise} | {repeats} | {cells} | {false:.2%} | "
                  + " | ".join(f"{share:.0%}" for share in found) + " |", flush=True)


if __name__ == "__main__":
    main()

"""How often comparisons and duels are wrong, and how often right: simulated on rough machines.

    python -m tests.benchmarks.error_rates [--pairs 2000] [--duels 200]

For each kind of noise: of how many pairs of equal sweeps an alarm is raised, and in how many of
them one cell that is slower by 5, 10, 20 or 50 % is found. Processes follow one another as they do
in two sweeps: base first, in each sweep one repeat of every cell after the other. Of duels: how
many of equal versions raise an alarm, of those with a lasting difference of 3 %, of those whose
processes fail in 3 of 100 cases, and how many find 5, 10 and 20 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from reports import duel
from reports.compare.times import BAR, decide

SLOWER = (0.05, 0.1, 0.2, 0.5)
SIZES = ((3, 1), (3, "1, by turns"), (5, 12))  # repeats, cells
TURNS = 0.01  # what a ratio to BPTT, taken by turns in one process, spreads by

Rng = np.random.Generator


def correlated(rng: Rng, n: int, sigma: float, memory: float = 0.7) -> np.ndarray:
    """[n] a first-order autoregressive process with this standard deviation."""
    out = sigma * rng.standard_normal(n)
    for i in range(1, n):
        out[i] = memory * out[i - 1] + np.sqrt(1 - memory**2) * out[i]
    return out


# Logarithms of n processes in the order in which they ran, half of them base's.
NOISE: dict[str, Callable[[Rng, int], np.ndarray]] = {
    **{
        f"normal, {100 * sigma:.0f} %": lambda rng, n, sigma=sigma: sigma * rng.standard_normal(n)
        for sigma in (0.03, 0.06, 0.2)
    },
    "heavy tails (t of 3 degrees)": lambda rng, n: 0.02 * rng.standard_t(3, n),
    "two speeds, 20 % apart, as often": lambda rng, n: (
        0.2 * (rng.random(n) < 0.5) + 0.01 * rng.standard_normal(n)
    ),
    "two speeds, 12 % apart": lambda rng, n: (
        0.12 * (rng.random(n) < 0.3) + 0.01 * rng.standard_normal(n)
    ),
    "spikes (8 % of processes)": lambda rng, n: (
        0.02 * rng.standard_normal(n) + (rng.random(n) < 0.08) * rng.exponential(0.5, n)
    ),
    "drift of 6 %": lambda rng, n: 0.06 * np.arange(n) / n + 0.015 * rng.standard_normal(n),
    **{
        f"a mood of each sweep, {100 * sigma:.0f} %": lambda rng, n, sigma=sigma: (
            np.repeat(sigma * rng.standard_normal(2), n // 2) + 0.015 * rng.standard_normal(n)
        )
        for sigma in (0.03, 0.05)
    },
    "correlated (AR 0.7), 3 %": lambda rng, n: correlated(rng, n, 0.03),
    "correlated (AR 0.7), 10 %": lambda rng, n: correlated(rng, n, 0.1),
}


# Both processes of a pair share a mood; a load may all the same cost one of them a core.
OF_PAIRS = {name: draw for name, draw in NOISE.items() if "mood" not in name} | {
    "load on either process, 25 %": lambda rng, n: (
        0.03 * rng.standard_normal(n) + rng.choice([-0.25, 0.25]) * (np.arange(n) == 0)
    )
}


def sweeps(noise: str, rng: Rng, repeats: int, cells: int) -> np.ndarray:
    """[side, cell, repeat] logarithms of times of two equal sweeps."""
    drawn = NOISE[noise](rng, 2 * repeats * cells)
    return drawn.reshape(2, repeats, cells).transpose(0, 2, 1)


def alarms(logs: np.ndarray, beside: list[float]) -> list[bool]:
    """Which cells are called worse."""
    told = decide(list(logs.transpose(1, 0, 2)), BAR, beside=beside)
    return [one.verdict == "worse" for one in told]


def rates(noise: str, repeats: int, cells: int | str, pairs: int) -> list[float]:
    """Shares of `pairs`: any false alarm, then the slower cell found, one for each slowdown.

    By turns, BPTT went through the same as the cell but for what the ratio of the two spreads by.
    """
    rng = np.random.default_rng(0)
    n = cells if isinstance(cells, int) else 1
    false, found = 0, np.zeros(len(SLOWER))

    def drawn() -> tuple[np.ndarray, list[float]]:
        logs = sweeps(noise, rng, repeats, n)
        bptt = (logs + TURNS * rng.standard_normal(logs.shape)).mean(axis=2)
        return logs, [] if isinstance(cells, int) else list(bptt[1] - bptt[0])

    for _ in range(pairs):
        false += any(alarms(*drawn()))
    for _ in range(max(pairs // 10, 1)):
        logs, beside = drawn()
        for i, share in enumerate(SLOWER):
            slower = logs.copy()
            slower[1, 0] += np.log1p(share)
            found[i] += alarms(slower, beside)[0]
    return [false / pairs, *(found / max(pairs // 10, 1))]


# Head over base, and the share of processes that fail.
CASES = ((1.0, 0.0), (1.03, 0.0), (1.0, 0.03), (1.05, 0.0), (1.1, 0.0), (1.2, 0.0))


def duel_alarms(noise: str, ratio: float, failing: float, duels: int) -> float:
    """The share of duels of one cell that call the head slower."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(duels):
        state = {"cells": ["cell"], "pairs": [], "over": False}
        while wanted := (decision := duel.decide(state))["wanted"]:
            for _ in range(wanted[0]["pairs"]):
                # What follows one another in time is in either order.
                values = np.exp(rng.permutation(OF_PAIRS[noise](rng, 2))) * (1.0, ratio)
                outcomes = [
                    {"value": None if rng.random() < failing else value, "status": "", "reason": ""}
                    for value in values
                ]
                state["pairs"].append(
                    {
                        "cell": 0,
                        "round": wanted[0]["round"],
                        **dict(zip(("base", "head"), outcomes, strict=True)),
                    }
                )
        alarms += bool(decision["worse"])
    return alarms / duels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000, help="pairs of sweeps of each kind")
    parser.add_argument("--duels", type=int, default=200, help="duels of each kind")
    arguments = parser.parse_args()
    print(
        "| noise | repeats | cells | false alarms | "
        + " | ".join(f"{share:.0%} found" for share in SLOWER)
        + " |"
    )
    print("|---|---:|---:|" + "---:|" * (1 + len(SLOWER)))
    for noise in NOISE if arguments.pairs else ():
        for repeats, cells in SIZES:
            false, *found = rates(noise, repeats, cells, arguments.pairs)
            print(
                f"| {noise} | {repeats} | {cells} | {false:.2%} | "
                + " | ".join(f"{share:.0%}" for share in found)
                + " |",
                flush=True,
            )
    print(
        "\n| noise of a duel | equal | lasting 3 % | failing 3 % | 5 % found | 10 % found "
        "| 20 % found |"
    )
    print("|---|" + "---:|" * len(CASES))
    for noise in OF_PAIRS if arguments.duels else ():
        told = [f"{duel_alarms(noise, *case, arguments.duels):.1%}" for case in CASES]
        print(f"| {noise} | " + " | ".join(told) + " |", flush=True)


if __name__ == "__main__":
    main()

"""Times and memories of ways, the machine's noise, and which differences in time are beyond it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from reports.stats import LEAST, STUDENT, Interval, interval, own_ends

LEAST_BAR = 0.05  # a smaller difference in time is not called one, however quiet the machine was
# Where too little was repeated: on a shared machine two processes that do the same work were seen
# as far apart as this.
UNKNOWN_BAR = 0.3
ODD = 2.0  # a process this many times slower or faster than the median of its cell is no comparison
EQUAL_MEMORY = 0.02  # as a share: memories no further apart count as equal
SLACK_MIB = 0.5  # pages and the allocator's slack move a measured peak by as much
LEAST_PEAK_MIB = 16.0  # below this the rise of a peak is made of pages and slack
AGAINST = "time_vs_bptt"
Z95 = 1.96
_ALPHA = 0.01  # of calling any of equal ways different
_LEAST_DEGREES = 3  # of freedom, below which the noise counts as unknown
# Two speeds of a machine: so many pairs of processes, such a share of them at two speeds (fewer are
# spikes), and the speeds so many standard deviations apart (one speed shows 4 at times).
_LEAST_PAIRS, _COMMON, _APART = 10, 0.2, 5.0

Order = Literal["faster", "slower", "within noise", "not compared"]


@dataclass(frozen=True)
class Time:
    """The step time of one program, over the processes that ran it.

    Args:
        ms: [ms] the figure with its interval; one process has its own, labelled so.
        logs: logarithms of the processes that are compared.
        n: how many those are; `odd` more were far off and are left out.
        repeats: the rounds of the sweep that they ran in.
        contended: all of them ran while more was running than the machine has cores.
        against: its time over BPTT's, the two by turns in each process; None where it was not so
            measured, or only where load may have moved it.
        beside: what the BPTT that it took turns with had in common with it; the step of that is the
            same for every batching, library and rule of updates.
        moved: that ratio where load may have moved it, as it was measured under contention with
            several threads: a core that is gone costs one way more than BPTT, and another less.
        one_thread: its processes computed on one thread.
    """

    ms: Interval
    logs: tuple[float, ...]
    n: int
    odd: int
    repeats: frozenset[int]
    contended: bool
    against: Interval | None = None
    beside: str = ""
    moved: Interval | None = None
    one_thread: bool = False

    @property
    def mean(self) -> float:
        return float(np.mean(self.logs))


@dataclass(frozen=True)
class Noise:
    """How far processes that ran one program lie apart.

    Args:
        sd: standard deviation of the logarithm of a step time, pooled over programs.
        degrees: degrees of freedom of it.
        modes: [log] the distance of the two speeds that the machine ran at; 0 where it had one.
    """

    sd: float
    degrees: int
    modes: float = 0.0

    @property
    def step(self) -> float:
        """The distance of the two speeds as a share of the time."""
        return float(np.expm1(self.modes))


def time_of(cells: pd.DataFrame) -> Time | None:
    """The step time of the rows of one program; None where none was timed.

    Processes that ran undisturbed stand for the program where there are any.
    """
    timed = cells[cells["step_time_ms"].gt(0)]
    if timed.empty:
        return None
    calm = timed[~timed["contended"]]
    used = calm if len(calm) else timed
    logs = np.log(used["step_time_ms"].to_numpy(dtype=float))
    # The lower median: that of two modes of equal size may be near to neither.
    middle = np.sort(logs)[(len(logs) - 1) // 2]
    near = (np.abs(logs - middle) <= np.log(ODD)) | (len(logs) < LEAST)
    kept = used[near]
    contended, alone = bool(kept["contended"].all()), bool(timed["one_thread"].all())
    ratio = _against(timed if alone else used)
    safe = alone or not contended
    return Time(
        ms=interval(kept["step_time_ms"].to_numpy(dtype=float), own=own_ends(used, "step_time_ms")),
        logs=tuple(sorted(logs[near].tolist())),
        n=len(kept),
        odd=len(used) - len(kept),
        repeats=frozenset(kept["repeat"].dropna().astype(int)),
        contended=contended,
        against=ratio if safe else None,
        beside=str(timed["beside"].iloc[0]),
        moved=None if safe else ratio,
        one_thread=alone,
    )


def _against(cells: pd.DataFrame) -> Interval | None:
    """`time_vs_bptt` over processes; no narrower than what single processes say of themselves."""
    cells = cells[cells[AGAINST].gt(0)]
    if cells.empty:
        return None
    low, high = (cells[f"{AGAINST}_{end}"].to_numpy(float) for end in ("low", "high"))
    found = interval(cells[AGAINST].to_numpy(float), own=(float(low[0]), float(high[0])))
    known = low > 0
    if not known.any():
        return found
    own = np.exp(np.median(np.log(high[known] / low[known])) / 2 / np.sqrt(len(cells)))
    return found._replace(low=min(found.low, found.centre / own),
                          high=max(found.high, found.centre * own))  # fmt: skip


def with_bptt(times: dict[str, Time], bptt: Collection[str]) -> dict[str, Time]:
    """The times of a setting's ways, that of BPTT as 1 where others took turns with it."""
    turned = {t.beside for n, t in times.items() if n not in bptt and (t.against or t.moved)}
    return {name: replace(time, against=Interval(1.0, 1.0, 1.0))
            if name in bptt and not time.against and time.beside in turned else time
            for name, time in times.items()}  # fmt: skip


def noise_of(times: Iterable[Time]) -> Noise | None:
    """The noise pooled over programs; None where too little was repeated to tell."""
    groups = [np.asarray(t.logs) for t in times if t.n > 1]
    degrees = sum(len(g) - 1 for g in groups)
    if degrees < _LEAST_DEGREES:
        return None
    squares = sum(float(((g - g.mean()) ** 2).sum()) for g in groups)
    return Noise(float(np.sqrt(squares / degrees)), degrees, _modes(groups))


def _modes(groups: Sequence[np.ndarray]) -> float:
    """[log] the distance of two speeds, of which each is seen in many processes of one program; 0
    where no two are seen.

    Differences between processes of one program are then of two kinds, small ones and those of
    this distance, parted where both kinds spread least (Otsu, 1979).
    """
    pairs = [np.abs(np.subtract.outer(g, g))[np.triu_indices(len(g), 1)] for g in groups]
    gaps = np.sort(np.concatenate(pairs))
    if len(gaps) < _LEAST_PAIRS:
        return 0.0
    parts = [(gaps[:i], gaps[i:]) for i in range(1, int(len(gaps) * (1 - _COMMON)) + 1)]
    near, far = min(parts, key=lambda p: sum(len(part) * part.var() for part in p))
    spread = float(np.sqrt((len(near) * near.var() + len(far) * far.var()) / len(gaps)))
    distance = float(far.mean() - near.mean())
    return float(far.mean()) if distance > _APART * spread else 0.0


def compare(a: Time, b: Time, noise: Noise | None, pairs: int = 1) -> Order:
    """How a's time stands to b's, at 1 % over all `pairs` that are compared.

    Where both took turns with BPTT, and load moved neither ratio to it, these are compared.
    Otherwise a time that was measured under contention is compared only with one of the same rounds
    of the sweep, in which both were disturbed alike; of several threads a load takes more from one
    program than from another all the same. A difference is at least 5 %, and on a machine of two
    speeds their distance: which of them a process met says nothing of its program.
    """
    found = _difference(a, b, noise)
    busy = not found.by_turns and (a.contended or b.contended)
    if busy and len(a.repeats & b.repeats) < LEAST:
        return "not compared"
    least = float(np.log1p(LEAST_BAR))
    if found.error != found.error or (busy and not (a.one_thread and b.one_thread)):
        least = float(np.log1p(UNKNOWN_BAR))
    if noise and not found.by_turns:
        least = max(least, noise.modes)
    if abs(found.gap) <= max(least, np.nan_to_num(found.half(1 - _ALPHA / (2 * pairs)))):
        return "within noise"
    return "slower" if found.gap > 0 else "faster"


def ratio(a: Time, b: Time, noise: Noise | None) -> Interval:
    """a's time over b's; 95 % interval where they took turns or both have three processes."""
    found = _difference(a, b, noise)
    half = found.half(0.975) if found.by_turns or min(a.n, b.n) >= LEAST else np.nan
    if half != half:
        return Interval(float(np.exp(found.gap)))
    low, centre, high = np.exp([found.gap - half, found.gap, found.gap + half]).tolist()
    return Interval(centre, low, high, STUDENT)


class _Difference(NamedTuple):
    """[log] of two times, its standard error (nan where the noise is unknown), and degrees of
    freedom.
    """

    gap: float
    error: float
    degrees: float
    by_turns: bool

    def half(self, level: float) -> float:
        return float(stdtrit(self.degrees, level)) * self.error


def _difference(a: Time, b: Time, noise: Noise | None) -> _Difference:
    """By their ratios to one BPTT where both have one with an interval; else with the noise that is
    pooled, or a program's own where that is larger.
    """
    one, other = a.against, b.against
    if one and other and a.beside == b.beside and min(one.low, other.low) > 0:
        error = np.hypot(*(np.log(r.high / r.low) / 2 for r in (one, other))) / Z95
        return _Difference(float(np.log(one.centre / other.centre)), float(error), 1e9, True)
    gap = a.mean - b.mean
    if noise is None:
        return _Difference(gap, np.nan, 1.0, False)
    own = [float(np.std(t.logs, ddof=1)) if t.n >= LEAST else 0.0 for t in (a, b)]
    squares = sum(max(noise.sd, s) ** 2 / t.n for s, t in zip(own, (a, b), strict=True))
    return _Difference(gap, squares**0.5, noise.degrees, False)


def memory_column(cells: pd.DataFrame) -> str:
    """What stands for memory in these rows: the measured peak, or XLA's account of small programs.

    XLA's account of one sample at a time is of one call, not of a step.
    """
    peaks = cells["memory_peak_mib"]
    if peaks.isna().all():
        return "memory_xla_mib"
    alone = bool((cells["batching"].eq("single") & cells["batch_size"].gt(1)).any())
    large = float((peaks.dropna() >= LEAST_PEAK_MIB).mean()) > 0.9
    complete = not peaks.isna().any()
    return "memory_peak_mib" if complete and (alone or large) else "memory_xla_mib"


def memory_of(cells: pd.DataFrame, column: str) -> Interval | None:
    """[MiB] the memory of one program's rows; what XLA accounts for has no interval."""
    values = cells[column].dropna().to_numpy(dtype=float)
    if not len(values):
        return None
    if column == "memory_peak_mib":
        return interval(values)
    return Interval(float(np.median(values)))


def least_memory(values: Sequence[float], column: str) -> list[bool]:
    """Which need no more than the least, but for what counts as equal."""
    least = np.nanmin(values)
    slack = SLACK_MIB if column == "memory_peak_mib" else 0.0
    return [bool(v <= max((1 + EQUAL_MEMORY) * least, least + slack)) for v in values]

"""Times and memories of ways, the machine's noise, and which differences in time are beyond it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

from reports.stats import LEAST, STUDENT, Interval, interval, own_ends

LEAST_BAR = 0.05  # a smaller difference in time is not called one, however quiet the machine was
# Where too little was repeated: on a shared machine two processes that do the same work were seen
# as far apart as this.
UNKNOWN_BAR = 0.3
# The same of ratios to BPTT: processes of one program said 0.84 to 0.87, and another 1.05.
UNKNOWN_RATIO_BAR = 0.25
# A picosecond to 30,000 years: no clock but a broken one says less or more.
CLOCK_MS = (1e-9, 1e15)
ODD = 2.0  # a process this many times slower or faster than the median of its cell is no comparison
EQUAL_MEMORY = 0.02  # as a share: memories no further apart count as equal
SLACK_MIB = 0.5  # pages and the allocator's slack move a measured peak by as much
LEAST_PEAK_MIB = 16.0  # below this the rise of a peak is made of pages and slack
AGAINST = "time_vs_bptt"
_ALPHA = 0.01  # of calling any of equal ways different
_LEAST_DEGREES = 3  # of freedom, below which the noise counts as unknown
_REACH = 0.9  # of pairs of processes that ran one program; the rest are spikes

Order = Literal["faster", "slower", "within noise", "not compared"]


@dataclass(frozen=True)
class Time:
    """The step time of one program, over the processes that ran it."""

    ms: Interval  # one process has its own, labelled so
    logs: tuple[float, ...]  # of the processes that are compared
    n: int  # how many those are
    odd: int  # more that were far off and are left out
    repeats: frozenset[int]  # the rounds of the sweep that they ran in
    contended: bool  # all ran while more was running than the machine has cores
    # Its time over BPTT's, the two by turns in each process; None where it was not so measured, or
    # only where load may have moved it.
    against: Interval | None = None
    # What that BPTT had in common with it; its step is the same for every batching, library and
    # rule of updates.
    beside: str = ""
    # The ratio where load may have moved it, as it was measured under contention with several
    # threads: a core that is gone costs one way more than BPTT, and another less.
    moved: Interval | None = None
    one_thread: bool = False
    ratios: tuple[float, ...] = ()  # logarithms of those of `against`; none of BPTT itself


@dataclass(frozen=True)
class Noise:
    """How far processes that ran one program lie apart."""

    sd: float  # standard deviation of the logarithm of a step time, pooled over programs
    degrees: int  # of freedom
    # No further apart, as a share, are nine of ten pairs of processes that ran one program: on a
    # machine of two speeds about their distance.
    reach: float = 0.0
    ratios: Noise | None = None  # the same of ratios to BPTT


def times_of(cells: pd.DataFrame) -> dict[str, Time]:
    """Way -> its step time, of the rows of one setting; that of BPTT is 1 over BPTT's where others
    took turns with it.
    """
    timed = cells[cells["step_time_ms"].between(*CLOCK_MS)]
    times = {str(way): _time_of(rows) for way, rows in timed.groupby("way", sort=False)}
    bptt = set(timed.loc[timed["exact"], "way"])
    turned = {t.beside for way, t in times.items() if way not in bptt and (t.against or t.moved)}
    for way in bptt:
        if not times[way].against and times[way].beside in turned:
            times[way] = replace(times[way], against=Interval(1.0, 1.0, 1.0))
    return times


def _time_of(timed: pd.DataFrame) -> Time:
    """The step time of one program. Processes that ran undisturbed stand for it where there are
    any.
    """
    calm = timed[~timed["contended"]]
    used = calm if len(calm) else timed
    logs = np.log(used["step_time_ms"].to_numpy(dtype=float))
    # The lower median: that of two modes of equal size may be near to neither.
    middle = np.sort(logs)[(len(logs) - 1) // 2]
    near = (np.abs(logs - middle) <= np.log(ODD)) | (len(logs) < LEAST)
    kept = used[near]
    contended, alone = bool(kept["contended"].all()), bool(timed["one_thread"].all())
    turns = timed if alone else used
    turns = turns[turns[AGAINST].gt(0)]
    own = next(zip(turns[f"{AGAINST}_low"], turns[f"{AGAINST}_high"], strict=True), None)
    ratio = interval(turns[AGAINST], own) if own else None
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
        ratios=tuple(np.log(turns[AGAINST].to_numpy(float)).tolist()) if safe else (),
    )


def noise_of(times: Iterable[Time]) -> Noise | None:
    """The noise pooled over programs; None where too little was repeated to tell."""
    times = list(times)
    found = _pooled(t.logs for t in times)
    return found and replace(found, ratios=_pooled(t.ratios for t in times))


def _pooled(samples: Iterable[Sequence[float]]) -> Noise | None:
    groups = [np.asarray(some) for some in samples if len(some) > 1]
    degrees = sum(len(g) - 1 for g in groups)
    if degrees < _LEAST_DEGREES:
        return None
    squares = sum(float(((g - g.mean()) ** 2).sum()) for g in groups)
    gaps = np.concatenate([np.subtract.outer(g, g)[np.triu_indices(len(g), 1)] for g in groups])
    reach = float(np.expm1(np.quantile(np.abs(gaps), _REACH)))
    return Noise(float(np.sqrt(squares / degrees)), degrees, reach)


def compare(a: Time, b: Time, noise: Noise | None, pairs: int = 1) -> Order:
    """How a's time stands to b's, at 1 % over all `pairs` that are compared.

    Where both took turns with BPTT, and load moved neither ratio to it, these are compared, the
    noise being that of ratios.
    Otherwise a time that was measured under contention is compared only with one of the same rounds
    of the sweep, in which both were disturbed alike; of several threads a load takes more from one
    program than from another all the same. A difference is at least 5 %, and larger than those
    between processes of one program: on a machine of two speeds, which of them a process met says
    nothing of its program.
    """
    gap, half, by_turns, known = _difference(a, b, noise, 1 - _ALPHA / (2 * pairs))
    busy = not by_turns and (a.contended or b.contended)
    if busy and len(a.repeats & b.repeats) < LEAST:
        return "not compared"
    least = UNKNOWN_RATIO_BAR if by_turns else UNKNOWN_BAR
    if known:
        moved = busy and not (a.one_thread and b.one_thread)
        least = max(UNKNOWN_BAR if moved else LEAST_BAR, known.reach)
    if abs(gap) <= max(math.log1p(least), half):
        return "within noise"
    return "slower" if gap > 0 else "faster"


def ratio(a: Time, b: Time, noise: Noise | None) -> Interval:
    """a's time over b's, with its 95 % interval where both have three processes."""
    gap, half, by_turns, _ = _difference(a, b, noise, 0.975)
    if not (sure(a.against) and sure(b.against) if by_turns else min(a.n, b.n) >= LEAST):
        return Interval(math.exp(gap))
    return Interval(math.exp(gap), math.exp(gap - half), math.exp(gap + half), STUDENT)


def sure(figure: Interval | None) -> bool:
    """Whether its ends hold another process, as those of three or of what is so by definition."""
    by_definition = figure is not None and not figure.kind and figure.low == figure.high
    return by_definition or (figure is not None and figure.kind == STUDENT)


def error_of(figure: Interval, unknown: float) -> float:
    """The standard error of its logarithm, another process included.

    Args:
        unknown: a pair that is not `sure` is parted (at 1 %) by no less than this share.
    """
    least = 0.0 if sure(figure) else math.log1p(unknown) / (float(ndtri(0.995)) * 2**0.5)
    return max(figure.error, least)


def _difference(
    a: Time, b: Time, noise: Noise | None, level: float
) -> tuple[float, float, bool, Noise | None]:
    """[log] of two times, half its interval at a one-sided level, whether they took turns, and the
    noise that counts.

    By their ratios to one BPTT where both have one with an interval. With the noise that is pooled,
    or a program's own where that is larger; a single ratio besides with what it says of itself.
    """
    one, other = a.against, b.against
    if one and other and a.beside == b.beside and min(one.low, other.low) > 0:
        by_turns, known, samples = True, noise and noise.ratios, (a.ratios, b.ratios)
        gap = math.log(one.centre / other.centre)
        half = float(ndtri(level)) * math.hypot(one.error, other.error)
    else:
        by_turns, known, samples, half = False, noise, (a.logs, b.logs), 0.0
        gap = float(np.mean(a.logs) - np.mean(b.logs))
    if known:
        squares = 0.0
        for logs in filter(len, samples):
            own = float(np.std(logs, ddof=1)) if len(logs) >= LEAST else 0.0
            squares += max(known.sd, own) ** 2 / len(logs)
        half = max(half, float(stdtrit(known.degrees, level)) * squares**0.5)
    return gap, half, by_turns, known


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


def equal_memory(least: float, column: str) -> float:
    """[MiB] up to where memories count as equal to the least."""
    slack = SLACK_MIB if column == "memory_peak_mib" else 0.0
    return max((1 + EQUAL_MEMORY) * least, least + slack)

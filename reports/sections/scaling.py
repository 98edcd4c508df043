"""Exponents beside theory, and where two series cross."""

from __future__ import annotations

from reports import document as d
from reports.claims.base import WIDE
from reports.columns import describe, heading
from reports.laws import Law, laws, meetings
from reports.study import Study
from reports.text import short


def scaling(study: Study) -> d.Section:
    found, crossings = laws(study), meetings(study)
    if not found:
        return d.Section(
            "scaling",
            "Scaling laws",
            [
                d.Words(
                    "No algorithm ran at three sizes of any axis with everything else equal, so "
                    "no exponent "
                    "can be fitted with an interval."
                )
            ],
        )
    blocks: list[d.Block] = [
        d.Words(
            "Each exponent p says that the quantity grows as size to the power p over the sizes "
            "measured "
            "(least squares on logarithms, 95 % Student intervals). Theory speaks of large "
            "sizes; at small "
            "ones fixed costs flatten a curve, which the exponent between the two largest sizes "
            "shows."
        )
    ]
    # Where the peak is shown, it holds the temporaries; they are told apart on demand.
    folded = ("memory_temp_mib",) if study.memory == "memory_peak_mib" else ()
    for metric in dict.fromkeys(law.metric for law in found):
        rows = [_law_row(law) for law in found if law.metric == metric]
        blocks.append(
            d.Table(
                [
                    "series",
                    "in",
                    "exponent",
                    "95 % interval",
                    "at the top",
                    "theory",
                    "reading",
                    "points",
                ],
                rows,
                numeric=(2, 3, 4, 5, 7),
                caption="" if metric in folded else heading(metric),
                folded=f"The same for {describe(metric).title}" if metric in folded else "",
            )
        )
    if crossings:
        blocks += [
            d.Heading("Where two of them cost the same"),
            d.Table(
                ["of", "setting", "cheaper below", "cheaper above", "crosses at", "95 % interval"],
                [
                    [
                        heading(m.metric),
                        m.slice,
                        m.first,
                        m.second,
                        f"{_axis(m.axis)} = {short(m.cross.at)}",
                        _bounds(m.cross.low, m.cross.high),
                    ]
                    for m in crossings
                ],
                numeric=(5,),
            ),
        ]
    return d.Section("scaling", "Scaling laws", blocks)


def _law_row(law: Law) -> list[str]:
    fit = law.law
    reading = _reading(law)
    return [
        law.series,
        _axis(law.axis),
        f"{fit.exponent:.2f}",
        _bounds(fit.low, fit.high, 2),
        f"{fit.top:.2f}",
        "" if law.theory is None else f"{law.theory:g}",
        reading + ("; bent" if fit.bent else ""),
        str(fit.points),
    ]


def _reading(law: Law) -> str:
    fit, theory = law.law, law.theory
    if theory is None:
        return ""
    if abs(fit.exponent - theory) < 0.05 or (
        fit.low <= theory <= fit.high and fit.high - fit.low < WIDE
    ):
        return "as theory says"
    if abs(fit.top - theory) < 0.15:
        return "heading there"
    if fit.low <= theory <= fit.high:
        return "not decided"
    return "less than theory" if fit.exponent < theory else "more than theory"


def _bounds(low: float, high: float, digits: int | None = None) -> str:
    if low != low:
        return "–"
    show = (lambda v: f"{v:.{digits}f}") if digits is not None else short
    if low == 0 and high == float("inf"):
        return "not bounded"
    left = "…" if low == 0 and digits is None else show(low)
    return f"[{left}, {'…' if high == float('inf') else show(high)}]"


def _axis(axis: str) -> str:
    return {"n_steps": "T", "n_hidden": "H", "batch_size": "B"}.get(axis, axis)

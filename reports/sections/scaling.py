"""Exponents beside theory, and where two series cross."""

from __future__ import annotations

from reports import document as d
from reports.laws import COUNTED, Law, laws, meetings, reading
from reports.records.columns import describe, heading
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
    blocks: list[d.Block] = [d.Words(_introduction(found))]
    # Where the peak is shown, it holds the temporaries; they are told apart on demand.
    folded = ("memory_temp_mib",) if study.memory == "memory_peak_mib" else ()
    for metric in dict.fromkeys(law.metric for law in found):
        rows = [_law_row(law) for law in found if law.metric == metric]
        interval = [] if metric in COUNTED else ["95 % interval"]
        numbers = ["exponent", *interval, "at the top", "theory"]
        head = ["series", "in", *numbers, "reading", "points"]
        blocks.append(
            d.Table(
                head,
                rows,
                numeric=tuple(i for i, h in enumerate(head) if h in (*numbers, "points")),
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


def _introduction(found: list[Law]) -> str:
    words = [
        "Each exponent p says that the quantity grows as size to the power p over the sizes "
        "measured (least squares on logarithms). Theory speaks of large sizes; at small ones fixed "
        "costs flatten a curve, which the exponent between the two largest sizes shows."
    ]
    if any(law.metric not in COUNTED for law in found):
        words.append(
            "Brackets are 95 % Student intervals; a reading is “not decided” where the interval is "
            "too wide to tell theory's exponent from others, or where the curve still bends."
        )
    if any(law.metric in COUNTED for law in found):
        words.append(
            "Temporaries and traces are counted, not measured, and are the same in every process: "
            "their exponents have no interval, and “bent” says that no single one describes them."
        )
    for why in dict.fromkeys(law.untested for law in found if law.untested):
        words.append(f"“Not tested” against T: {why}.")
    return " ".join(words)


def _law_row(law: Law) -> list[str]:
    fit = law.law
    counted = law.metric in COUNTED
    told = "not tested" if law.untested else ""
    if law.theory is not None:
        told = reading(fit, law.theory, counted=counted)
    return [
        law.series,
        _axis(law.axis),
        f"{fit.exponent:.2f}",
        *([] if counted else [_bounds(fit.low, fit.high, 2)]),
        f"{fit.top:.2f}",
        "" if law.theory is None else f"{law.theory:g}",
        "; ".join(filter(None, [told, "bent" if fit.bent else ""])),
        str(fit.points),
    ]


def _bounds(low: float, high: float, digits: int | None = None) -> str:
    if low != low:
        return "–"
    if low == 0 and high == float("inf"):
        return "not bounded"
    show = (lambda v: f"{v:.{digits}f}") if digits is not None else short
    left = "…" if low == 0 and digits is None else show(low)
    return f"[{left}, {'…' if high == float('inf') else show(high)}]"


def _axis(axis: str) -> str:
    return {"n_steps": "T", "n_hidden": "H", "batch_size": "B"}.get(axis, axis)

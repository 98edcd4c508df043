"""The verdict of a duel in words."""

from __future__ import annotations

import math
from typing import Any

from reports.sequential import FASTER, SLOWER


def as_text(decision: dict[str, Any]) -> str:
    """The verdict for a terminal, one line a cell and one for all."""
    width = max(len(cell["name"]) for cell in decision["cells"])
    lines = [f"{c['name']:<{width}}  {c['verdict']:<11}  {_effect(c)}" for c in decision["cells"]]
    return "\n".join([*lines, _sentence(decision), ""])


def as_markdown(decision: dict[str, Any], state: dict[str, Any]) -> str:
    """The verdict for a pull request."""
    sides = [
        f"{s} `{state[s]['asked']}` ({(state[s]['commit'] or 'no commit')[:10]}"
        f"{', changed' if state[s]['dirty'] else ''})"
        for s in ("base", "head")
    ]
    rows = [f"| `{c['name']}` | **{c['verdict']}** | {_effect(c)} |" for c in decision["cells"]]
    return "\n".join(
        [
            f"### Timing: {_sentence(decision)}",
            "",
            f"{sides[1]} against {sides[0]}, {state['column']}"
            + (f"; all cells with `{state['shared']}`." if state["shared"] else "."),
            "",
            "| cell | verdict | head against base |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _effect(cell: dict[str, Any]) -> str:
    if cell["estimate"] is None:
        return cell["reason"] or "not measured"
    text = f"{100 * math.expm1(cell['estimate']):+.1f} %"
    if cell["lo"] is not None:
        text += f" [{100 * math.expm1(cell['lo']):+.1f}, {100 * math.expm1(cell['hi']):+.1f}]"
    text += f", {cell['pairs']} pairs"
    return f"{text} ({cell['reason']})" if cell["reason"] else text


def _sentence(decision: dict[str, Any]) -> str:
    count = {
        v: sum(c["verdict"] == v for c in decision["cells"])
        for v in (SLOWER, FASTER, "same", "cannot tell")
    }
    said = [f"{number} {verdict}" for verdict, number in count.items() if number]
    return f"{', '.join(said)} of {len(decision['cells'])} cells"

"""The verdict of a duel in words."""

from __future__ import annotations

import math
from typing import Any

from reports.sequential import FASTER, SLOWER
from reports.text import table


def as_text(decision: dict[str, Any]) -> str:
    """The verdict for a terminal, one line a cell and one for all."""
    width = max(len(cell["name"]) for cell in decision["cells"])
    lines = [f"{c['name']:<{width}}  {c['verdict']:<11}  {_effect(c)}" for c in decision["cells"]]
    return "\n".join([*lines, _sentence(decision), ""])


def as_markdown(decision: dict[str, Any], state: dict[str, Any]) -> str:
    """The verdict for a pull request."""
    sides = [f"{s} `{state[s]['asked']}` ({(state[s]['commit'] or 'no commit')[:10]}"
             f"{', changed' if state[s]['dirty'] else ''})" for s in ("base", "head")]  # fmt: skip
    shared = f"; all cells with `{state['shared']}`" if state["shared"] else ""
    rows = [[f"`{c['name']}`", f"**{c['verdict']}**", _effect(c)] for c in decision["cells"]]
    return (f"### Timing: {_sentence(decision)}\n\n"
            f"{sides[1]} against {sides[0]}, {state['column']}{shared}.\n\n"
            f"{table(['cell', 'verdict', 'head against base'], rows)}\n")  # fmt: skip


def _effect(cell: dict[str, Any]) -> str:
    if cell["estimate"] is None:
        return cell["reason"] or "not measured"
    text = f"{100 * math.expm1(cell['estimate']):+.1f} %"
    if cell["lo"] is not None:
        text += f" [{100 * math.expm1(cell['lo']):+.1f}, {100 * math.expm1(cell['hi']):+.1f}]"
    text += f", {cell['pairs']} pairs"
    return f"{text} ({cell['reason']})" if cell["reason"] else text


def _sentence(decision: dict[str, Any]) -> str:
    verdicts = [cell["verdict"] for cell in decision["cells"]]
    said = [f"{number} {verdict}" for verdict in (SLOWER, FASTER, "same", "cannot tell")
            if (number := verdicts.count(verdict))]  # fmt: skip
    return f"{', '.join(said)} of {len(decision['cells'])} cells"

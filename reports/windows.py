"""Which cells carry their traces from window to window, and which compute a sequence in one.

Where one window covers the sequence no trace is carried and memory grows with the length up to the
window's buffer, by design: such a cell tells nothing of how memory grows beyond it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.study import Study

OPTION = "cfg.algo.window"
LONGER = "sweep longer ones or set algo.window to see the flat part"


def windows(study: Study, cells: pd.DataFrame) -> pd.DataFrame:
    """`carried` and `covered` of each cell; neither is true where the record does not tell.

    The window is the one recorded (`window_steps`), else the one that was set. An algorithm without
    windows has none to cover its sequence.
    """
    rows = study.table.set_index("key")
    chosen = rows[OPTION] if OPTION in rows else pd.Series(None, index=rows.index, dtype="string")
    option = chosen.reindex([keys[0] for keys in cells["keys"]]).astype("string").to_numpy()
    # Other libraries are handed the option with the rest of the algorithm, and have no use for it.
    option = pd.Series(option, index=cells.index, dtype="string").where(cells["backend"].eq("core"))
    steps = cells["window_steps"].fillna(pd.to_numeric(option, errors="coerce").astype("float64"))
    steps = steps.mask(option.eq("sequence").fillna(False), np.inf)
    length = cells["n_steps"].astype("float64")
    return pd.DataFrame(
        {"carried": option.isna() | steps.lt(length), "covered": option.notna() & steps.ge(length)}
    )


def not_carried(study: Study, cells: pd.DataFrame) -> str:
    """Why these cells say nothing of memory against length, in words; "" where each carries."""
    found = windows(study, cells)
    if found["carried"].all():
        return ""
    if found["covered"].any():
        longest = int(cells.loc[found["covered"], "n_steps"].max())
        options = {
            str(study.by_key[keys[0]]["config"]["algo"]["window"])
            for keys in cells.loc[found["covered"], "keys"]
        }
        return (
            f"sequences of up to {longest} steps fit one window here "
            f"(algo.window={','.join(sorted(options))}); {LONGER}"
        )
    return (
        "these records do not tell how many steps a window of algo.window=auto had, and one that "
        f"covers the sequence grows with it; {LONGER}"
    )

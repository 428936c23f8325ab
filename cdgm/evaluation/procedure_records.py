"""What procedures of several fits record of their members, as scores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

#: Arrays (E,) of a fit's history, by the beginning of their names; what follows is a block. To metrics.
RECORDED = {"procedure/fits": "fits_taken", "procedure/dims/": "kept_dims"}


def procedure_records(scores: pd.DataFrame, history: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Scores of each member of a stack: fits that it took, and dimensions that a block kept.

    Parameters
    ----------
    scores
        Scores of the stack (``metrics.csv`` of its evaluation).
    history
        Its history.

    Returns
    -------
    DataFrame
        Rows like those of ``scores``, empty for a variant without a procedure.
    """
    runs = scores.drop_duplicates("member").set_index("member")
    parts: list[pd.DataFrame] = []
    for name, values in history.items():
        for beginning, metric in RECORDED.items():
            if name.startswith(beginning):
                found = pd.DataFrame({"member": range(len(values)), "value": values.astype(np.float64)})
                for column in ("seed", "point", "finite"):
                    found[column] = runs[column].reindex(found["member"]).to_numpy()
                place = {"source": "", "block": name.removeprefix(beginning), "truth": "", "twist": 0.0}
                parts.append(found.assign(**place, metric=metric, null_mean=np.nan, null_high=np.nan))
    return pd.concat(parts, ignore_index=True) if parts else scores.iloc[:0]

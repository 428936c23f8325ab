"""Latents back into AnnData objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cdgm.estimator.trainable import Trainable

PREFIX = "X_cdgm_"
SUMMARY = "cdgm"


def to_anndata(
    model: Trainable, member: int, latents: Mapping[str, np.ndarray], elbo: pd.DataFrame
) -> AnnData:
    """The model's AnnData object with latents in ``obsm`` and a summary in ``uns["cdgm"]``.

    A view is copied first; of arrays a new object without X is made. An object in backed mode gets them in
    memory: its own ``write`` keeps them.

    Parameters
    ----------
    model
        A trained model.
    member
        Which fit.
    latents
        Block to that fit's posterior means (cells, dimensions), in the order of the data.
    elbo
        Held-out ELBOs, as ``ComparativeVAE.get_elbo`` gives them.

    Returns
    -------
    AnnData
        ``obsm["X_cdgm_<block>"]`` (cells, dimensions) for each block, ``obs["cdgm_held_out"]``,
        ``uns["cdgm"]`` with variant, dimensions, seeds, features and held-out ELBO of each source.
    """
    import pandas as pd
    from anndata import AnnData

    fitted, observed = model.fitted, model.observed
    adata = model.adata
    if adata is None:
        obs = pd.DataFrame({"source": observed.source}, index=observed.names)
        if observed.label is not None:
            obs["label"] = observed.label
        adata = AnnData(obs=obs)
    elif adata.is_view:
        adata = adata.copy()
    for block, latent in latents.items():
        adata.obsm[f"{PREFIX}{block}"] = latent
    adata.obs["cdgm_held_out"] = observed.marked(model.split.held_out)
    own = elbo[elbo["member"] == member]
    adata.uns[SUMMARY] = {
        "member": member,
        "seed": model.seeds[member],
        "dims": dict(model.model_spec.dims),
        "steps": int(fitted.steps[member]),
        "features": observed.features.astype(object),
        "held_out_elbo": dict(zip(own["source"], own["elbo"], strict=True)),
        "spec": fitted.spec.model_dump_json(),
    }
    return adata

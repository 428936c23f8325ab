"""Choice of genes. Each method is a plug-in and uses neither labels nor sources."""

from __future__ import annotations

from cdgm.utils.registry import Registry

GENES = Registry(
    "gene selection",
    {
        "all": "cdgm.data.gene_selection.everything:Everything",
        "most_expressed": "cdgm.data.gene_selection.most_expressed:MostExpressed",
        "pearson_residuals": "cdgm.data.gene_selection.pearson_residuals:PearsonResiduals",
    },
)

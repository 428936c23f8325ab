"""Comparative models of your own data: AnnData objects or arrays in; latents, scores and checks out.

``model`` is the public class and ``queries`` its methods that ask a trained model. ``observations``,
``anndata_input``, ``genes`` and ``split`` prepare the data; ``defaults`` and ``specification`` turn arguments
into a fit; ``ensemble`` and ``early_stopping`` train it; ``scores``, ``leakage`` and ``gene_ranking`` score
it, ``interpretation`` and ``leakage_checks`` draw conclusions; ``model_folder`` saves it; ``selection``
chooses dimensions and levels. ``latent_check`` does as much for latents of another method.
"""

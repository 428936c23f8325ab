"""Comparative models of your own data: AnnData objects or arrays in; latents, scores and checks out.

``model`` is the public class and ``queries`` its methods that ask a trained model. ``observations``,
``anndata_input``, ``genes`` and ``split`` prepare the data; ``defaults`` and ``specification`` turn arguments
into a fit; ``ensemble`` and ``early_stopping`` train it; ``scores``, ``gene_ranking`` and ``interpretation``
evaluate it; ``model_folder`` saves it; ``selection`` chooses dimensions and levels.
"""

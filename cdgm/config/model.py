"""The type of a model's architecture; it needs pydantic alone, as all types of a fit."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from cdgm.config.design import Design
from cdgm.config.latent_twist import Twist
from cdgm.utils.registry import Strict, distinct, field_of

#: Slope of the networks' leaky ReLU, the usual one of the field's simulations.
LEAKY_RELU_SLOPE = 0.2

if TYPE_CHECKING:
    from cdgm.models.likelihoods.base import Likelihood
else:
    Likelihood = field_of("cdgm.models.likelihoods:LIKELIHOODS")

#: With more dropout hardly a unit is left.
MOST_DROPOUT = 0.9
Widths = Annotated[tuple[Annotated[int, Field(le=100_000)], ...], Field(max_length=100)]
Activation = Literal["leaky_relu", "silu", "tanh"]
HiddenNorm = Literal["layer"]


class ModelSpec(Strict):
    """Architecture of a comparative VAE.

    Attributes
    ----------
    design, dims
        Sources and blocks, and the fitted dimension of each block.
    encoder_hidden, decoder_hidden
        Widths of the hidden layers.
    encoder_activation, decoder_activation
        Nonlinearity between layers.
    hidden_norm
        ``layer``: a layer norm between each hidden linear layer and its nonlinearity; None without.
    dropout
        Probability with which training drops each unit of a hidden layer; 0 for none.
    likelihood
        Distribution of the observations (plug-in).
    twist
        A twist T built into the decoder, which becomes ``net o T^-1``; absent means none.
    posterior
        ``mean_field``: diagonal Gaussians. ``twisted``: diagonal Gaussians carried forward by the
        model's twist, which keeps volumes and the prior, so that the KL terms stay in closed form.
        ``full_covariance``: Gaussians with all correlations between the latents of a source.
    covariates
        Names of what is known of each row beside its source (batch, donor, ...) and enters the decoder.
    encode_covariates
        Whether covariates enter the encoders too.
    """

    design: Design
    dims: dict[str, Annotated[int, Field(le=10_000)]]
    encoder_hidden: Widths
    decoder_hidden: Widths
    encoder_activation: Activation
    decoder_activation: Activation
    likelihood: Likelihood
    twist: Twist | None = None
    posterior: Literal["mean_field", "twisted", "full_covariance"] = "mean_field"
    # What follows is left out of saved models that have none of it, which so are as they were before.
    hidden_norm: HiddenNorm | None = Field(None, exclude_if=operator.not_)
    dropout: float = Field(0.0, ge=0, le=MOST_DROPOUT, exclude_if=operator.not_)
    covariates: Annotated[tuple[str, ...], AfterValidator(distinct)] = Field(
        (), max_length=100, exclude_if=operator.not_
    )
    encode_covariates: bool = Field(False, exclude_if=operator.not_)

    @model_validator(mode="after")
    def _check(self) -> ModelSpec:
        self.design.check_dims(self.dims, "dims of the model")
        for key, values in (
            ("dims", tuple(self.dims.values())),
            ("encoder_hidden", self.encoder_hidden),
            ("decoder_hidden", self.decoder_hidden),
        ):
            if any(value < 1 for value in values):
                raise ValueError(f"{key} holds {min(values)}, expected values of at least 1")
        if self.posterior == "twisted" and self.twist is None:
            raise ValueError("posterior is 'twisted', but the model has no twist")
        if self.encode_covariates and not self.covariates:
            raise ValueError("encode_covariates is true, but the model has no covariates")
        if self.twist is not None:
            self.design.check_twist(self.twist.block, self.twist.by, self.dims, "twist")
        return self

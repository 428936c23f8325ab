"""The plain form of a pass, by autograd: what the gradients by hand are held against."""

import torch

from cdgm.models.block_posterior import LOG_VARIANCE_RANGE
from cdgm.models.comparative_vae import Pass, Posterior, divergence


def autograd_pass(model, batch, noise, inactive=False):
    """What ``model(batch, noise, inactive)`` gives, with its graph."""
    design, h = model.design, model.likelihood.encoder_input(batch.x)
    posteriors, kl, latents = {}, {}, {}
    for block, active in design.blocks.items():
        parts, start = {}, 0
        for source in model.encoded(block, inactive):
            rows = batch.rows[source]
            size = rows.stop - rows.start
            mean, log_variance = model.encoders[block](h[:, rows]).chunk(2, dim=-1)
            log_variance = log_variance.clamp(*LOG_VARIANCE_RANGE)
            sample = mean + (0.5 * log_variance).exp() * noise[block][:, start : start + size]
            start += size
            posteriors[source, block] = Posterior(mean, log_variance, sample)
            if source in active:
                kl[source, block] = divergence(posteriors[source, block]).mean(1)
                parts[source] = sample
        latents[block] = torch.cat(
            [
                parts.get(source, h.new_zeros(h.shape[0], r.stop - r.start, model.spec.dims[block]))
                for source, r in batch.rows.items()
            ],
            dim=1,
        )
    if model.spec.posterior == "twisted":
        latents = model.spec.twist.apply(latents, torch)
    log_prob = model.likelihood.log_prob(
        batch.x, model.decode(latents), batch.library, dict(model.likelihood_parameters)
    )
    log_prob = log_prob + batch.constant
    elbo = torch.stack(
        [
            log_prob[:, rows].mean(1) - sum(kl[source, block] for block in design.active(source))
            for source, rows in batch.rows.items()
        ]
    )
    return Pass(
        elbo=elbo,
        kl=kl,
        posteriors={key: p for key, p in posteriors.items() if key in kl},
        inactive={key: p for key, p in posteriors.items() if key not in kl},
    )


def flat_gradient(value, model):
    """Gradient (E, P) of a sum over members by a stack's parameters."""
    found = torch.autograd.grad(
        value.sum(), list(model.parameters()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([g.flatten(1) for g in found], dim=1)

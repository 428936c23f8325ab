"""The plain form of a pass, by autograd: what the gradients by hand are held against."""

import torch

from cdgm.models.block_posterior import LOG_VARIANCE_RANGE
from cdgm.models.comparative_vae import Pass, Posterior, divergence
from cdgm.models.full_posterior import earlier_blocks


def autograd_pass(model, batch, noise, inactive=False):
    """What ``model(batch, noise, inactive)`` gives, with its graph."""
    design, h = model.design, model.likelihood.encoder_input(batch.x)
    masks = batch.masks or {}
    if model.spec.encode_covariates:
        h = torch.cat([h, batch.covariates], dim=-1)
    posteriors, kl, latents = {}, {}, {}
    for block, active in design.blocks.items():
        parts, start = {}, 0
        for source in model.encoded(block, inactive):
            rows = batch.rows[source]
            size = rows.stop - rows.start
            seen = slice(start, start + size)
            output, _ = model.encoders[block].traced(
                h[:, rows], masks=[m[:, seen] for m in masks.get(f"encoders.{block}", ())]
            )
            own = noise[block][:, seen]
            start += size
            if model.spec.posterior == "full_covariance":
                beside = [
                    _noise_at(model, other, source, batch, noise, inactive)
                    for other in earlier_blocks(design, block)
                ]
                posterior, divergences = _full(output, torch.cat([*beside, own], dim=-1), own.shape[-1])
            else:
                mean, log_variance = output.chunk(2, dim=-1)
                log_variance = log_variance.clamp(*LOG_VARIANCE_RANGE)
                posterior = Posterior(mean, log_variance, mean + (0.5 * log_variance).exp() * own)
                divergences = divergence(posterior)
            posteriors[source, block], sample = posterior, posterior.sample
            if source in active:
                kl[source, block] = divergences.mean(1)
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
    entered = model._decoder_input(model._joined(latents), batch.covariates)
    decoded, _ = model.decoder.traced(entered, masks=masks.get("decoder", ()))
    log_prob = model.likelihood.log_prob(batch.x, decoded, batch.library, dict(model.likelihood_parameters))
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


def _noise_at(model, block, source, batch, noise, inactive):
    """Noise of a block for the rows of one source."""
    start = 0
    for other in model.encoded(block, inactive):
        rows = batch.rows[other]
        size = rows.stop - rows.start
        if other == source:
            return noise[block][:, start : start + size]
        start += size
    raise AssertionError(source)


def _full(output, noise, d):
    """A block's posterior by its Cholesky factor (E, B, d, n + d), row by row, and its KL divergence."""
    mean, log_variance = output[..., :d], output[..., d : 2 * d].clamp(*LOG_VARIANCE_RANGE)
    n, start, rows = noise.shape[-1] - d, 2 * d, []
    for i in range(d):
        entries = output[..., start : start + n + i]
        start += n + i
        one, rest = torch.ones_like(entries[..., :1]), torch.zeros_like(output[..., : d - 1 - i])
        if entries.shape[-1] == 0:
            one = torch.ones_like(output[..., :1])
        rows.append(torch.cat([entries, one, rest], dim=-1))
    assert start == output.shape[-1]
    factor = torch.stack(rows, dim=-2) * (0.5 * log_variance).exp()[..., None]
    sample = mean + (factor @ noise[..., None])[..., 0]
    variance = factor.square().sum(-1)
    # E KL(N(m + C e, L L') || N(0, I)) over e ~ N(0, I).
    own = factor[..., n:]
    divergences = 0.5 * ((mean.square() + variance).sum(-1) - d) - torch.linalg.slogdet(own).logabsdet
    return Posterior(mean, variance.log(), sample), divergences


def flat_gradient(value, model):
    """Gradient (E, P) of a sum over members by a stack's parameters."""
    found = torch.autograd.grad(
        value.sum(), list(model.parameters()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([g.flatten(1) for g in found], dim=1)

"""Nothing but the trainer's choice ties a fit to the CPU.

There is no GPU where tests run. Torch's `meta` device, which has shapes and no numbers, stands in for one: an
operation on tensors of two devices fails on it too.
"""

import pytest
import torch

from cdgm.models.source_data import SourceData, assemble
from cdgm.models.stacks import flatten_parameters
from cdgm.objectives.lagrangian import Lagrangian
from cdgm.training import loop as training
from cdgm.training.batches import shuffled_indices, standard_normals
from cdgm.training.device import device_of
from cdgm.utils.errors import UserError
from tests.unit.test_variants import VARIANTS, data_of, spec_of

DTYPE = torch.float32


@pytest.fixture
def meta(monkeypatch):
    """A device that is not the CPU; what is fetched from it comes back as ones."""
    cpu = torch.Tensor.cpu

    def fetched(tensor):
        return torch.ones(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else cpu(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", fetched)
    # The fused kernel of Adam exists for real devices only.
    monkeypatch.setattr(torch.optim, "Adam", lambda parameters, lr, fused: torch.optim.SGD(parameters, lr=lr))
    return torch.device("meta")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_stays_on_its_device(variant, meta):
    spec = spec_of(VARIANTS[variant], "contrastive")
    x = data_of("gaussian", "contrastive")
    data = {s: SourceData(x[s], [0] * len(spec.members), spec.model.likelihood, DTYPE, meta) for s in x}
    model = training.build_model(spec, next(iter(data.values())).n_features).to(meta)
    flat = flatten_parameters(model, model.n_members)
    objective = Lagrangian(model, flat, spec.variant, training._contexts(spec, dict.fromkeys(x, 64), meta))
    rows = spec.training.batch_size
    streams = training.member_streams(spec, "batches")
    index = {s: next(shuffled_indices(streams, 64, rows)) for s in x}
    noise = standard_normals(
        training.noise_streams(spec, model, objective.inactive), spec.model.dims, rows, DTYPE, meta
    )
    for _ in range(2):
        step = objective.step(assemble(data, index), next(noise))
        assert step.gradient.device == meta
        assert step.gradient.shape == flat.shape


def test_auto_takes_what_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto").type == "cpu"
    with pytest.raises(UserError, match="got 'cuda', expected a GPU that torch can use"):
        device_of("cuda")

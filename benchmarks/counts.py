"""What the negative binomial's gradient costs: passes over (rows x genes), and bytes a second.

Every operation is counted with the tensors that it reads and writes, so ``passes`` is their size over that
of the counts: a copy is two. The bytes a second stand beside those of a triad of large arrays in the same
run: above them, the work runs in the cache. One thread, processor time, medians.

Run with ``make bench``.
"""

from __future__ import annotations

import math
import statistics

import torch
from throughput import options, seconds
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cdgm.models.likelihoods.negative_binomial import NegativeBinomial

ROWS, MEMBERS, GENES = 256, 2, (300, 1_500, 6_000)
LARGE = 1 << 26


class Traffic(TorchDispatchMode):
    """Adds up the bytes that operations read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run an operation; one that only looks at a tensor in another way costs nothing."""
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            found = tree_leaves((args, kwargs, out))
            self.bytes += sum(size(value) for value in found if isinstance(value, Tensor))
        return out


def size(tensor: Tensor) -> int:
    """Bytes of a tensor, of axes that repeat themselves one entry."""
    axes = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.element_size() * math.prod(n for n, step in axes if step)


def triad() -> float:
    """Bytes a second of a = b + c / 2 with arrays of 256 MB, best of five."""
    a, b, c = (torch.ones(LARGE) for _ in range(3))
    return 3 * 4 * LARGE / min(seconds(lambda: torch.add(b, c, alpha=0.5, out=a)) for _ in range(5))


def counts(genes: int) -> Tensor:
    """Counts (E, B, D) of which six in seven are zero, as of cells."""
    torch.manual_seed(0)
    rates = torch.randn(genes).mul(1.5).sub(2.5).exp() * torch.randn(MEMBERS, ROWS, 1).mul(0.4).exp()
    return torch.poisson(rates * torch._standard_gamma(torch.full((MEMBERS, ROWS, genes), 2.0)) / 2)


def main() -> None:
    """Measure and print."""
    arguments = options(__doc__)
    torch.set_num_threads(1)
    memory = triad()
    print(f"memory: {memory / 1e9:.0f} GB/s on one core; {MEMBERS} members x {ROWS} rows")
    likelihood = NegativeBinomial(link="softmax", dispersion="learned")
    for genes in GENES:
        x, f = counts(genes), torch.randn(MEMBERS, ROWS, genes)
        library, weight = likelihood.library_size(x).unsqueeze(-1), torch.full((ROWS,), 1.0 / ROWS)
        parameters = likelihood.initial_parameters(MEMBERS, genes)

        def gradients(x=x, f=f, library=library, parameters=parameters, weight=weight) -> None:
            likelihood.log_prob_and_gradients(x, f.clone(), library, parameters, weight)

        with torch.no_grad():
            with Traffic() as traffic:
                gradients()
        with torch.inference_mode():
            taken = statistics.median(seconds(gradients) for _ in range(4 * arguments.rounds))
            copy = statistics.median(seconds(lambda f=f: f.clone()) for _ in range(4 * arguments.rounds))
        passes, rate = traffic.bytes / size(x), traffic.bytes / taken
        print(
            f"  {genes:5d} genes   {1e3 * taken:6.2f} ms   {passes:.0f} passes   {rate / 1e9:.0f} GB/s, "
            f"{rate / memory:.1f} of memory's   {taken / copy:.0f} times a copy"
        )


if __name__ == "__main__":
    main()

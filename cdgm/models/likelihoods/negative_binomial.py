"""Negative binomial likelihood for counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cdgm.models.likelihoods._counts import CountLikelihood

if TYPE_CHECKING:
    from torch import Tensor


# From here on the series of Stirling with three terms is exact to float64.
STIRLING_FROM = 50.0
# Values at a time in a step: what fits a core's cache with its temporaries; speed alone.
IN_CACHE = 65_536
# Dispersions are not divided by less, so that ratios stay finite in float32.
LEAST_DISPERSION = 1e-30


class NegativeBinomial(CountLikelihood):
    """``x ~ NB(mean = rate, dispersion)``, variance ``rate + rate^2 / dispersion``.

    Attributes
    ----------
    link
        See :class:`CountLikelihood`.
    dispersion
        ``learned``, one a feature, or a known value. Identifiability under negative binomial noise
        assumes that it is known.
    """

    kind: Literal["negative_binomial"] = "negative_binomial"
    dispersion: Literal["learned"] | Annotated[float, Field(gt=0)]

    def initial_parameters(self, n_members: int, n_features: int) -> dict[str, Tensor]:
        """``log_dispersion`` (E, 1, D), starting at dispersion 1; empty when it is known."""
        import torch

        return (
            {"log_dispersion": torch.zeros(n_members, 1, n_features)} if self.dispersion == "learned" else {}
        )

    def log_prob(self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """See :meth:`Likelihood.log_prob`."""
        log_dispersion = self._log_dispersion(f, parameters)
        dispersion = log_dispersion.exp()
        log_rate = self.log_rate(f, library)
        rest = (x * log_rate - (x + dispersion) * _log_total(log_rate - log_dispersion)).sum(-1)
        at = _where_many(x)
        return rest + at.row_sums(_log_gamma_ratio(at.of(x), at, dispersion))

    def log_prob_and_gradients(
        self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor], weight: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See :meth:`Likelihood.log_prob_and_gradients`.

        Few values at a time, so that what is computed stays in the cache: the arithmetic is cheap, and
        thousands of features would else wait for memory.
        """
        import torch

        log_dispersion = self._log_dispersion(f, parameters)
        log_prob, by_log_dispersion = f.new_empty(f.shape[:2]), torch.zeros_like(log_dispersion)
        for members, rows in _parts(f.shape):
            log_prob[members, rows] = self._dense_part(
                x[members, rows], f[members, rows], library[members, rows], log_dispersion[members],
                weight[rows], by_log_dispersion[members],
            )  # fmt: skip
        at, dispersion = _where_many(x), log_dispersion.exp()
        counts = at.of(x)
        log_prob += at.row_sums(_log_gamma_ratio(counts, at, dispersion))
        if self.dispersion != "learned":
            return log_prob, f, {}
        slope = _log_gamma_slope(counts, at, dispersion)
        by_log_dispersion += at.feature_sums(slope.mul_(at.of_rows(weight)))
        return log_prob, f, {"log_dispersion": by_log_dispersion}

    def _dense_part(
        self,
        x: Tensor,
        f: Tensor,
        library: Tensor,
        log_dispersion: Tensor,
        weight: Tensor,
        by_log_dispersion: Tensor,
    ) -> Tensor:
        """Log-probabilities without what :func:`_log_gamma_ratio` adds.

        ``f`` is overwritten with the gradient by it; that by logarithms of dispersions is added to
        ``by_log_dispersion``.
        """
        import torch

        dispersion = log_dispersion.exp()
        log_rate, shares = self.rates(f, library)
        # Logarithm of rate / dispersion + 1, and the share of the rate in rate + dispersion.
        if shares is None:
            log_ratio = log_rate - log_dispersion
            log_total, share = _log_total(log_ratio), log_ratio.sigmoid_()
        else:  # the rates themselves are there, which saves an exponential function
            ratio = (shares * library).mul_(1 / dispersion.clamp(min=LEAST_DISPERSION))
            log_total, share = ratio.log1p(), ratio.div_(ratio + 1)
        both = x + dispersion
        # (x + dispersion) rate / (rate + dispersion): what x is compared with.
        expected = share.mul_(both)
        if self.dispersion == "learned":
            row_weights = weight.expand(len(x), 1, -1)
            by_log_dispersion += torch.bmm(row_weights, expected)
            by_log_dispersion -= dispersion * torch.bmm(row_weights, log_total)
        log_prob = log_rate.mul_(x).sub_(log_total.mul_(both)).sum(-1)
        by_log_rate = torch.sub(x, expected, out=log_rate).mul_(weight[:, None])
        self.pull_rate(by_log_rate, shares)
        return log_prob

    def _log_dispersion(self, f: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """Logarithms of the dispersions (E, 1, D)."""
        if self.dispersion == "learned":
            return parameters["log_dispersion"]
        return f.new_tensor(self.dispersion).log().expand(f.shape[0], 1, f.shape[-1])

    def summary(self, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """``dispersion_median`` over features, where it is learned."""
        if self.dispersion != "learned":
            return {}
        return {"dispersion_median": parameters["log_dispersion"].exp().flatten(1).median(dim=1).values}


def _parts(shape: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Members and rows of parts of (E, B, D) that fit the cache: whole members, or rows of one."""
    members, rows, features = shape
    many = max(1, IN_CACHE // (rows * features))
    few = rows if many > 1 else max(1, IN_CACHE // features)
    for member in range(0, members, many):
        for row in range(0, rows, few):
            yield slice(member, member + many), slice(row, row + few)


def _log_total(log_ratio: Tensor) -> Tensor:
    """``log(1 + rate / dispersion)`` from the logarithm of the ratio.

    It is not the difference of two logarithms: that of a large dispersion, which is nearly Poisson, would
    leave nothing of float32's digits. Past the threshold softplus is the identity; the usual one, 20, would
    cost float64 half of its digits.
    """
    from torch.nn.functional import softplus

    return softplus(log_ratio, threshold=40)


@dataclass(frozen=True)
class _Places:
    """Places of some of the values of x (E, B, D).

    Attributes
    ----------
    places, rows, columns
        Numbers of the values in x, of their rows in (E, B), and of their members and features in (E, D).
    shape
        Shape of x.
    """

    places: Tensor
    rows: Tensor
    columns: Tensor
    shape: tuple[int, int, int]

    def of(self, x: Tensor) -> Tensor:
        """The values of x (E, B, D) at the places."""
        return x.reshape(-1).index_select(0, self.places)

    def of_features(self, values: Tensor) -> Tensor:
        """The values (E, 1, D) that belong to the places."""
        return values.reshape(-1).index_select(0, self.columns)

    def of_rows(self, values: Tensor) -> Tensor:
        """The values (B,), equal for all members, that belong to the places."""
        return values.repeat(self.shape[0]).index_select(0, self.rows)

    def row_sums(self, values: Tensor) -> Tensor:
        """Sums over the places of each row, (E, B)."""
        members, rows, _ = self.shape
        return values.new_zeros(members * rows).index_add_(0, self.rows, values).view(members, rows)

    def feature_sums(self, values: Tensor) -> Tensor:
        """Sums over the places of each feature, (E, 1, D)."""
        members, _, features = self.shape
        sums = values.new_zeros(members * features).index_add_(0, self.columns, values)
        return sums.view(members, 1, features)


def _where_many(x: Tensor) -> _Places:
    """Where x is above 1.

    At 0 and 1 :func:`_log_gamma_ratio` is 0, and these are most of the counts of cells; ``lgamma`` and its
    derivative are by far the slowest functions here.
    """
    members, rows, features = x.shape
    places = (x > 1).reshape(-1).nonzero().squeeze(1)
    row = places // features
    return _Places(places, row, row // rows * features + (places - row * features), (members, rows, features))


def _log_gamma_ratio(x: Tensor, at: _Places, theta: Tensor) -> Tensor:
    """``lgamma(x + theta) - lgamma(theta) - x log(theta)`` of counts x at places, theta (E, 1, D).

    Its terms grow with ``theta`` while it goes to 0. So for large ``theta`` the series of Stirling is used
    for both, in which they cancel by hand; its error there is below the rounding of float64.
    """
    small = theta.clamp(max=STIRLING_FROM)
    direct = (x + at.of_features(small)).lgamma()
    direct = direct - at.of_features(small.lgamma()) - x * at.of_features(small.log())
    large = theta >= STIRLING_FROM
    if not large.any():
        return direct
    # Clamped in both branches, so that the one not taken gives no NaN to the gradient of the other.
    big = at.of_features(theta.clamp(min=STIRLING_FROM))
    series = (x + big - 0.5) * (x / big).log1p() - x + _stirling_rest(x + big) - _stirling_rest(big)
    return series.where(at.of_features(large), direct)


def _log_gamma_slope(x: Tensor, at: _Places, theta: Tensor) -> Tensor:
    """Derivative of :func:`_log_gamma_ratio` by the logarithm of ``theta``, at the places."""
    small = theta.clamp(max=STIRLING_FROM)
    own = at.of_features(small)
    direct = own * ((x + own).digamma() - at.of_features(small.digamma())) - x
    large = theta >= STIRLING_FROM
    if not large.any():
        return direct
    big = at.of_features(theta.clamp(min=STIRLING_FROM))
    # theta (log(1 + x / theta) - 1 / (2 (x + theta)) + 1 / (2 theta)) - x + ..., from the series' derivative.
    series = big * (x / big).log1p() - x + 0.5 * x / (x + big)
    series += big * (_stirling_slope(x + big) - _stirling_slope(big))
    return series.where(at.of_features(large), direct)


def _stirling_slope(y: Tensor) -> Tensor:
    """Derivative of :func:`_stirling_rest`."""
    square = (1 / y).square()
    return -square * (1 / 12 - square * (1 / 120 - square / 252))


def _stirling_rest(y: Tensor) -> Tensor:
    """``lgamma(y) - (y - 1/2) log y + y - log(2 pi) / 2`` up to about ``y^-7 / 1680``."""
    inverse = 1 / y
    square = inverse.square()
    return inverse * (1 / 12 - square * (1 / 360 - square / 1260))

"""A peer's fits get the same scores, tables and permutations as ours, checked with a known method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.peer_ours import Ours, our_fit
from benchmarks.peer_tables import Fitted
from benchmarks.peers import chosen, fit_all, score
from cdgm.config.fit import FitSpec
from cdgm.data.bundle import Bundle
from cdgm.evaluation.study_tables import GROUP_COLUMNS, SCORE_COLUMNS
from cdgm.utils.errors import UserError

DATASET = "immune_spikein"
SIZES = {"train": 40, "test": 20}
LABELS = ("a", "b")


@pytest.fixture(scope="module")
def ours() -> FitSpec:
    return our_fit(DATASET)


@pytest.fixture
def bundle() -> Bundle:
    rng = np.random.default_rng(0)
    x = {
        split: {s: rng.poisson(2.0, (1, n, 30)).astype(np.uint16) for s in ("background", "target")}
        for split, n in SIZES.items()
    }
    return Bundle(x)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with the table of the bundle's cells: target cells are labelled a, b, a, b, ..."""
    rows = [
        (f"{split}-{source}-{i}", split, source, i, LABELS[i % 2] if source == "target" else "")
        for split, n in SIZES.items()
        for source in ("background", "target")
        for i in range(n)
    ]
    folder = tmp_path / "data" / DATASET
    folder.mkdir(parents=True)
    table = pd.DataFrame(rows, columns=["cell", "split", "source", "row", "label"])
    table.to_csv(folder / "cells.csv", index=False)
    return tmp_path


@dataclass(frozen=True)
class Fake:
    """A peer whose salient space is the label, far apart, and whose background space is noise."""

    name: str = "fake"
    finite: bool = True
    stacked: bool = False
    # Every so many cells lie on the other label's side; 0 for none.
    wrong: int = 0
    jobs: list[tuple[int, ...]] = field(default_factory=list, compare=False)

    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "finite": self.finite}

    def fit(self, ours: FitSpec, bundle: Bundle, seeds: Sequence[int], draws: int) -> list[Fitted]:
        self.jobs.append(tuple(seeds))
        return [self.one(bundle, seed) for seed in seeds]

    def one(self, bundle: Bundle, seed: int) -> Fitted:
        rng = np.random.default_rng(seed)
        means = {}
        for split, sources in bundle.x.items():
            for source, x in sources.items():
                n = x.shape[1]
                side = np.arange(n) % 2
                if self.wrong:
                    side[:: self.wrong] = 1 - side[:: self.wrong]
                means[split, source, "background"] = rng.standard_normal((n, 3))
                noise = 0.01 * rng.standard_normal((n, 2))
                means[split, source, "salient"] = 10.0 * np.eye(2)[side] + noise
        kl = {("background", "background"): 3.0, ("target", "background"): 4.0, ("target", "salient"): 5.0}
        elbo = {"background": -10.0 - seed, "target": -20.0 - seed}
        return Fitted(means, elbo, kl, self.finite, 10.0 + seed)


def scored(
    results: Path, ours: FitSpec, bundle: Bundle, methods: Mapping[str, Any], seeds: Sequence[int], draws: int
) -> str:
    """Fit and score all methods at the same seeds."""
    fits = fit_all(DATASET, results, ours, bundle, methods, dict.fromkeys(methods, seeds))
    return score(DATASET, results, ours, bundle, fits, draws)


def read_summary(results: Path) -> pd.DataFrame:
    text = dict.fromkeys(GROUP_COLUMNS, str)
    path = results / "peers" / f"{DATASET}_summary.csv"
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"null_mean": [""]})


def value_of(table: pd.DataFrame, variant: str, metric: str, source: str, block: str, column: str) -> float:
    found = table[
        (table["variant"] == variant)
        & (table["metric"] == metric)
        & (table["source"] == source)
        & (table["block"] == block)
    ]
    assert len(found) == 1
    return found.iloc[0][column]


def test_a_peer_s_scores_become_tables_like_a_study_s(ours: FitSpec, bundle: Bundle, results: Path):
    fake = Fake()
    text = scored(results, ours, bundle, {"fake": fake}, [7, 8, 9], draws=20)
    table = pd.read_csv(results / "peers" / f"{DATASET}.csv", keep_default_na=False)
    assert list(table) == SCORE_COLUMNS
    assert fake.jobs == [(7,), (8,), (9,)]
    baselines = {"pca", "pca_background", "contrastive_pca", "library_size", "oracle"}
    assert set(table["variant"]) == {"fake", *baselines}
    assert set(table.loc[table["variant"] == "fake", "seed"]) == {7, 8, 9}
    assert set(table.loc[table["variant"] != "fake", "fit"]) == {""}
    assert set(table["study"]) == {"peers"}
    assert set(table["setting"]) == {DATASET}

    summary = read_summary(results)
    assert list(summary)[: len(GROUP_COLUMNS)] == GROUP_COLUMNS
    assert value_of(summary, "fake", "elbo", "background", "", "median") == -18
    assert value_of(summary, "fake", "elbo", "target", "", "min") == -29
    assert value_of(summary, "fake", "kl", "target", "salient", "median") == 5
    for metric in ("knn_accuracy", "nmi", "ari"):
        assert value_of(summary, "fake", metric, "target", "salient", "median") == 1
    # Noise cannot tell the two classes, and the permutation null says so.
    noise = value_of(summary, "fake", "knn_accuracy", "target", "background", "median")
    assert abs(noise - 0.5) < 0.2
    assert abs(value_of(summary, "fake", "knn_accuracy", "target", "background", "null_mean") - 0.5) < 0.1
    assert "| fake | 1.00 [1.00, 1.00] |" in text
    assert "-18.0 [-19.0, -17.0] | -28.0 [-29.0, -27.0] | 18 [17, 19] |" in text


def test_a_fit_is_made_once_and_found_again(ours: FitSpec, bundle: Bundle, tmp_path: Path):
    first, more, other = Fake(), Fake(), Fake(name="other settings")
    for fake, seeds in ((first, [0, 1]), (more, [0, 1, 2]), (other, [0])):
        fits = fit_all(DATASET, tmp_path, ours, bundle, {"fake": fake}, {"fake": seeds})["fake"]
        assert [kept.seed for kept in fits] == seeds
        assert [kept.fitted.elbo["target"] for kept in fits] == [-20 - seed for seed in seeds]
    # Each seed is a fit of its own: only what is new is made.
    assert (first.jobs, more.jobs, other.jobs) == ([(0,), (1,)], [(2,)], [(0,)])


def test_a_fit_that_diverged_is_counted_and_left_out(ours: FitSpec, bundle: Bundle, results: Path):
    scored(results, ours, bundle, {"fake": Fake(finite=False)}, [0], draws=2)
    summary = read_summary(results)
    mine = summary[summary["variant"] == "fake"]
    assert set(mine["metric"]) == {"elbo", "kl", "seconds"}
    assert set(mine["n"]) == {1}
    assert set(mine["n_finite"]) == {0}


def test_an_unknown_method_is_refused_by_name():
    with pytest.raises(UserError, match=r"--methods.*'nope'.*'fake'"):
        chosen({"fake": Fake()}, ["nope"])
    assert list(chosen({"fake": Fake(), "b": Fake("b")}, ["b"])) == ["b"]


def test_our_own_model_goes_the_same_way(ours: FitSpec, bundle: Bundle):
    short = FitSpec.model_validate(
        ours.model_dump(mode="json")
        | {"training": ours.training.model_dump() | {"steps": 3, "batch_size": 8, "log_every": 3}}
    )
    (alone,) = Ours(equal_widths=True).fit(short, bundle, [2], 2)
    stack = Ours(equal_widths=True).fit(short, bundle, [1, 2], 2)
    for fitted in stack:
        assert fitted.finite
        assert fitted.seconds > 0
        assert fitted.means["test", "target", "salient"].shape == (SIZES["test"], ours.model.dims["salient"])
        assert set(fitted.kl) == {
            ("background", "background"), ("target", "background"), ("target", "salient"),
        }  # fmt: skip
    # Members come in the order of the seeds, and a member is the fit that it would be alone.
    assert stack[1].elbo == pytest.approx(alone.elbo, rel=1e-4)
    assert stack[1].kl == pytest.approx(alone.kl, rel=1e-3)
    assert stack[0].elbo != pytest.approx(alone.elbo, rel=1e-4)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zero_inflated", [True, False])
def test_scvi_tools_bounds_and_latents(ours: FitSpec, bundle: Bundle, zero_inflated: bool):
    pytest.importorskip("scvi", reason="needs the extra 'peers'")
    import torch
    from scipy.stats import nbinom

    from benchmarks.contrastivevi import ContrastiveVI, held_out_bound

    peer = ContrastiveVI(epochs=2, warm_up=None, zero_inflated=zero_inflated, batch_size=16)
    model, seconds = peer.train(ours, bundle, 0)
    assert len(seconds) == 2
    assert min(seconds) > 0
    (fitted,) = peer.fit(ours, bundle, [0], 2)
    assert fitted.finite
    assert fitted.means["train", "target", "salient"].shape == (SIZES["train"], ours.model.dims["salient"])

    # The bound by hand: the same posterior samples, SciPy's law, the KL of Gaussians written out.
    x = bundle.x["test"]["target"][0]
    elbo, kl = held_out_bound(model, x, "target", 5, 1)
    torch.manual_seed(5)
    rows, batch = torch.from_numpy(x.astype(np.float32)), torch.zeros(len(x), 1)
    with torch.inference_mode():
        q = model.module._generic_inference(x=rows, batch_index=batch)
        p = model.module._generic_generative(q["z"], q["s"], q["library"], batch)
    rate, size = p["px_rate"].double().numpy(), p["px_r"].double().numpy()
    np.testing.assert_allclose(rate.sum(1), x.sum(1), rtol=1e-4)  # the library is the observed total
    likelihood = nbinom.pmf(x, size, size / (size + rate))
    if zero_inflated:
        share = torch.sigmoid(p["px_dropout"]).double().numpy()
        likelihood = share * (x == 0) + (1 - share) * likelihood
    terms = {
        block: 0.5 * (q[f"q{b}_m"] ** 2 + q[f"q{b}_v"] - 1 - q[f"q{b}_v"].log()).sum(1).mean().item()
        for b, block in (("z", "background"), ("s", "salient"))
    }
    assert kl == pytest.approx(terms, rel=1e-4)
    assert elbo == pytest.approx(np.log(likelihood).sum(1).mean() - sum(terms.values()), rel=1e-4)
    # Cells of the background are decoded without the salient block, whose KL they do not pay.
    assert set(held_out_bound(model, x, "background", 5, 1)[1]) == {"background"}


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_a_private_warm_up_leaves_the_other_kl_term_whole(ours: FitSpec, bundle: Bundle):
    pytest.importorskip("scvi", reason="needs the extra 'peers'")
    import torch

    from benchmarks.contrastivevi import ContrastiveVI

    peer = ContrastiveVI(epochs=1, warm_up=4, private_only=True, batch_size=16)
    assert "private_only" in peer.settings()
    assert "private_only" not in ContrastiveVI().settings()
    model, _ = peer.train(ours, bundle, 0)
    module = model.module.eval()
    rows = {s: torch.from_numpy(x[0].astype(np.float32)) for s, x in bundle.x["test"].items()}
    batch = torch.zeros(SIZES["test"], 1)
    with torch.inference_mode():
        q = module.inference(**{s: {"x": x, "batch_index": batch} for s, x in rows.items()})
        given = {s: {n: q[s][n] for n in ("z", "s", "library")} | {"batch_index": batch} for s in rows}
        tensors = {s: {"X": x, "batch": batch} for s, x in rows.items()}
        found = module.loss(tensors, q, module.generative(**given), kl_weight=0.25)
    recon = found.reconstruction_loss["reconstruction_loss"].mean()
    kl = {name: value.mean() for name, value in found.kl_local.items()}
    expected = recon + kl["kl_divergence_z"] + 0.25 * kl["kl_divergence_s"]
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-5)

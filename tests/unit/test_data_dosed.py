"""Doses change just what they should, by as much as they say, and are scored in the right block."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from cdgm.config.dataset import DatasetSpec, Doses
from cdgm.config.design import Design
from cdgm.config.evaluation import EvaluationSpec
from cdgm.data.bundle import Bundle, read_bundle
from cdgm.data.cell_table import read_cell_table
from cdgm.data.dosed import ESCAPER, give_doses
from cdgm.data.preprocess import preprocess, write_prepared
from cdgm.evaluation.doses import dose_rows
from tests.unit.data_helpers import refused, sparse, treated, write_h5ad

OPTIONS = {
    "agents": 2, "genes_per_agent": 10, "most_expressed": 30, "strength": 1.0, "dependence": 0.0,
    "target_fraction": 0.5,
}  # fmt: skip
COUNTS = np.random.default_rng(5).poisson(20.0, (1200, 40))


def given(counts=COUNTS, seed=1, **changes):
    return give_doses(sp.csr_matrix(counts), Doses(**OPTIONS | changes), np.random.default_rng(seed))


def test_rates_change_as_the_dose_says_and_other_genes_do_not():
    dosed = given()
    target, new = dosed.source == "target", dosed.counts.toarray()
    assert target.sum() == 600
    untouched = np.setdiff1d(np.arange(40), dosed.genes)
    np.testing.assert_array_equal(new[~target], COUNTS[~target])
    np.testing.assert_array_equal(new[:, untouched], COUNTS[:, untouched])
    for gene, program in zip(dosed.genes, dosed.program, strict=True):
        agent = int(program.split(",")[0].split()[1]) - 1
        sign = 1 if program.endswith("rises") else -1
        change = np.exp(sign * dosed.dose[target, agent])
        # Exact mean of binomial and Poisson draws given the counts; 6 standard errors of 600 cells.
        expected = COUNTS[target, gene] * change
        error = (new[target, gene] - expected).mean() / np.sqrt(expected.mean() / 600)
        assert abs(error) < 6
        # The mean dose alone would not do: the change follows the dose cell by cell.
        high = dosed.dose[target, agent] > 0.5
        assert sign * (new[target, gene][high].mean() - new[target, gene][~high].mean()) > 2
    assert (dosed.program == "agent 1, rises").sum() == 5


def test_effects_depend_on_the_state_of_the_cell():
    rng = np.random.default_rng(0)
    state = rng.normal(size=(1200, 1))
    counts = rng.poisson(20 * np.exp(0.7 * state * np.sign(rng.normal(size=40))))
    dosed = given(counts, dependence=1.0, agents=1)
    gene = dosed.genes[dosed.program == "agent 1, rises"]
    target = dosed.source == "target"
    ratio = dosed.counts.toarray()[:, gene].sum(axis=1) / np.maximum(counts[:, gene].sum(axis=1), 1)
    gain = np.log(np.maximum(ratio[target], 1e-3)) / dosed.dose[target, 0]
    sure = dosed.dose[target, 0] > 0.3
    # An effect between none and twice the strength, by the sign of the component.
    assert abs(np.corrcoef(gain[sure], np.tanh(state[target, 0][sure]))[0, 1]) > 0.9
    same = given(counts, dependence=0.0, agents=1)
    assert same.dose.max() <= 1


def test_escapers_and_contaminated_controls_are_as_many_as_asked():
    dosed = given(escapers=0.3, contaminated=0.1)
    target = dosed.source == "target"
    assert (dosed.dose[target].sum(axis=1) == 0).sum() == 180
    assert (dosed.label[target] == ESCAPER).sum() == 180
    assert (dosed.dose[~target].sum(axis=1) > 0).sum() == 60
    assert set(dosed.label[~target]) == {""}
    changed = (dosed.counts.toarray() != COUNTS).any(axis=1)
    assert not changed[dosed.dose.sum(axis=1) == 0].any()


@pytest.mark.parametrize("confounding", [0.0, 0.5, 1.0])
def test_the_batch_goes_with_the_source_as_far_as_asked(confounding):
    dosed = given(batch_effect=0.5, confounding=confounding)
    share = [(dosed.batch[dosed.source == source] == "2").mean() for source in ("background", "target")]
    np.testing.assert_allclose(share, [0.5 - confounding / 2, 0.5 + confounding / 2], atol=0.07)
    loss = dosed.counts.toarray()[:, :].sum(axis=1) / COUNTS.sum(axis=1)
    controls = dosed.source == "background"
    if confounding < 1:
        assert loss[controls & (dosed.batch == "2")].mean() < 0.9
    np.testing.assert_array_equal(loss[controls & (dosed.batch == "1")], 1)


def test_the_same_seed_gives_the_same_and_no_cell_is_left_empty():
    a, b, other = given(), given(), given(seed=2)
    assert (a.counts != b.counts).nnz == 0
    assert (a.source != other.source).any()
    few = np.zeros((40, 30), dtype=int)
    few[np.arange(40), np.arange(40) % 30] = 1
    kept = given(few, strength=5.0, genes_per_agent=14)
    assert (np.asarray(kept.counts.sum(axis=1)) > 0).all()


@pytest.mark.parametrize(
    ("changes", "part"),
    [({"most_expressed": 41}, "at most the 40 genes"), ({"target_fraction": 0.0001}, "at least 2")],
)
def test_what_the_data_cannot_give_is_named(changes, part):
    refused(lambda: given(**changes), "doses", part)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"genes_per_agent": 20}, "do not fit"),
        ({"confounding": 0.5}, "batch_effect"),
        ({"genes_per_agent": 3}, "2"),
    ],
)
def test_bad_options_are_refused(changes, part):
    with pytest.raises(ValueError, match=part):
        Doses(**OPTIONS | changes)


SPEC = {
    "download": "mine",
    "reader": {
        "kind": "h5ad", "source_column": "treatment",
        "sources": {"background": ["control"], "target": "rest"},
    },
    "sources": ["background", "target"],
    "genes": {"kind": "all"},
    "held_out": 0.25,
    "splits": 3,
    "doses": OPTIONS | {"of": "background"},
}  # fmt: skip


def test_every_draw_of_a_data_set_keeps_cells_counts_and_doses_together(tmp_path):
    raw = write_h5ad(tmp_path / "a.h5ad", sparse(COUNTS[:300]), treated(300))
    write_prepared(preprocess(DatasetSpec.model_validate(SPEC), "mine", raw, root=1), tmp_path / "out")
    bundle = read_bundle(tmp_path / "out" / "cells.npz", support="counts")
    cells = read_cell_table(tmp_path / "out" / "cells.csv")
    assert bundle.replicates == 3
    sources = []
    for draw in range(3):
        own = cells.of(draw)
        position = own.table["cell"].str[1:].astype(int).to_numpy()
        assert (position % 3 == 0).all()  # the controls of the file
        assert len(set(position)) == 100
        x = own.join({(a, s): v[draw] for a, of in bundle.x.items() for s, v in of.items()})
        dose = own.join({(a, s): v["dose"][draw] for a, of in bundle.truth.items() for s, v in of.items()})
        changed = (x != COUNTS[position]).any(axis=1)
        np.testing.assert_array_equal(changed, dose.sum(axis=1) > 0)
        np.testing.assert_array_equal(dose.sum(axis=1) > 0, own.source == "target")
        sources.append(dict(zip(own.table["cell"], own.source, strict=True)))
    assert sources[0] != sources[1]


def test_a_reader_without_sources_gives_all_of_its_cells(tmp_path):
    counts = COUNTS[:60].copy()
    counts[:, 1] = 1
    raw = write_h5ad(tmp_path / "a.h5ad", sparse(np.log2(1 + counts)), treated(60))
    reader = {"kind": "h5ad_log2", "labels": {"drug": "treatment"}, "tolerance": 0.01}
    prepared = preprocess(
        DatasetSpec.model_validate(SPEC | {"reader": reader, "doses": OPTIONS, "splits": 1}),
        "mine",
        raw,
        root=1,
    )
    assert list(prepared.cells) == ["cell", "split", "source", "row", "label", "drug", "batch"]
    assert len(prepared.cells) == 60
    assert prepared.arrays["truth/train/target/dose"].shape == (1, 22, 2)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"doses": OPTIONS}, "doses.of is None"),
        ({"doses": OPTIONS | {"of": "other"}}, "doses.of is 'other'"),
        ({"cells_per_source": {"target": 10}}, "'doses' alone"),
    ],
)
def test_doses_need_a_source_of_the_reader(changes, part):
    with pytest.raises(ValueError, match=part):
        DatasetSpec.model_validate(SPEC | changes)


def test_doses_are_scored_in_the_block_that_knows_them():
    rng = np.random.default_rng(3)
    dose = {
        split: rng.uniform(size=(1, n, 2)).astype(np.float32) for split, n in (("train", 300), ("test", 100))
    }
    counts = {split: {s: np.ones((1, d.shape[1], 4)) for s in ("b", "t")} for split, d in dose.items()}
    bundle = Bundle(counts, {split: {"t": {"dose": d}} for split, d in dose.items()})
    design = Design(sources=("b", "t"), blocks={"z": ("b", "t"), "u": ("t",)})
    spec = SimpleNamespace(
        model=SimpleNamespace(design=design), members=[SimpleNamespace(seed=7)], dataset="d", root_seed=1
    )
    means = {}
    for split, d in dose.items():
        means[split, "t", "z"] = rng.normal(size=(1, d.shape[1], 3))
        means[split, "t", "u"] = np.concatenate([d[..., :1], d[..., 1:] ** 2 - d[..., 1:]], axis=2)
    evaluation = EvaluationSpec(elbo_draws=1, null_draws=20)
    (rows,) = dose_rows(spec, evaluation, bundle, [0], means)
    values = {(row["block"], row["metric"]): row["value"] for row in rows}
    # A dose as it is, and one through a parabola with its top in the middle: nothing linear is left of it.
    assert set(values) == {
        ("z", "leakage_r2"), ("z", "leakage_r2_nonlinear"),
        ("u", "recovery_r2"), ("u", "recovery_r2_nonlinear"),
    }  # fmt: skip
    assert abs(values["z", "leakage_r2"]) < 0.06
    assert abs(values["z", "leakage_r2_nonlinear"]) < 0.06
    assert 0.4 < values["u", "recovery_r2"] < 0.55
    assert all(row["null_high"] < 0.1 and row["truth"] == "dose" for row in rows)
    assert not next(dose_rows(spec, evaluation, Bundle(counts), [0], means))

"""Models of one's own data: what they say, against what is known or computed another way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pytest
import torch
import yaml

import cdgm
from cdgm.estimator import defaults
from cdgm.estimator.fitted import Fitted
from cdgm.evaluation.metrics.recovery import recovery_cc
from cdgm.training.loop import train
from tests.unit import own_data
from tests.unit.data_helpers import refused

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fitted():
    """Two members, trained long enough to tell blocks apart."""
    return own_data.trained(steps=400, n_members=2, held_out=0.2)


def test_installed_settings_are_those_of_the_workflow():
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert defaults.defaults() == defaults.from_config(config), (
        "write them anew: python -m cdgm.estimator.defaults > defaults.json; mv defaults.json cdgm/estimator/"
    )
    assert "mo-co-cvae" in cdgm.ComparativeVAE.variants()


@pytest.mark.parametrize("variant", defaults.variant_names())
def test_every_variant_trains(variant):
    model = own_data.trained(variant=variant, steps=3)
    assert np.isfinite(model.get_latent_representation()).all()


@pytest.mark.slow
def test_blocks_are_found(fitted):
    z, t = own_data.latents()
    target = np.arange(len(t)) >= len(t) // 2
    for member in (0, 1):
        assert recovery_cc(fitted.get_latent_representation("background", member=member), z) > 0.7
        salient = fitted.get_latent_representation("salient", source="target", member=member)
        assert recovery_cc(salient, t[target]) > 0.7


def test_latents_come_in_the_order_of_the_data():
    adata = own_data.cells()
    mixed = own_data.set_up(adata[np.random.default_rng(3).permutation(adata.n_obs)].copy())
    model = own_data.trained(mixed)
    for source, name in (("background", "ctrl"), ("target", "drug")):
        own = (mixed.obs["condition"] == name).to_numpy()
        rows = torch.as_tensor(mixed.X[own].toarray())[None]
        expected = model.fitted.stack.posterior_means(rows, source)
        for block in ("background", "salient"):
            whole = model.get_latent_representation(block)
            assert whole.shape == (adata.n_obs, 2)
            np.testing.assert_allclose(whole[own], expected[block][0].detach(), rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(whole[own], model.get_latent_representation(block, source=source))


def test_other_cells_are_seen_through_the_same_genes(fitted):
    other = own_data.cells(seed=5)
    whole = fitted.get_latent_representation("background", data=own_data.cells())
    np.testing.assert_array_equal(whole, fitted.get_latent_representation("background"))
    # Genes are found by name, cells of one source are enough, and no setup is needed.
    turned = other[own_data.CELLS // 2 :, list(other.var_names[::-1])].copy()
    found = fitted.get_latent_representation(data=turned)
    assert found.shape == (own_data.CELLS // 2, 2)
    np.testing.assert_array_equal(found, fitted.get_latent_representation(data=other, source="target"))
    refused(lambda: fitted.get_latent_representation(data=other[:, 2:]), "adata.var_names", "'no g0'")
    refused(lambda: fitted.get_latent_representation(data=turned, source="background"), "of these data")
    refused(lambda: fitted.get_latent_representation(data={"background": other.X}), "AnnData")


def test_other_rows_of_arrays_are_scaled_as_those_of_the_model():
    rng = np.random.default_rng(0)
    data = {s: 5 + 2 * rng.standard_normal((40, 3)) for s in ("a", "b")}
    model = cdgm.ComparativeVAE.from_arrays(data, variant="cvae", n_background=2, n_salient=1)
    model.train(max_steps=5)
    some = model.get_latent_representation(data={"b": data["b"][7:9]})
    np.testing.assert_allclose(some, model.get_latent_representation(source="b")[7:9], rtol=1e-5)
    refused(lambda: model.get_latent_representation(data={"c": data["b"]}), "source", "'c'")
    refused(
        lambda: model.get_latent_representation(data={"b": data["b"][:, 1:]}), "features", "3, as the model"
    )


def test_it_is_the_training_of_the_package():
    model = own_data.trained()
    x = {s: model.observed.x[s][rows][None] for s, rows in model.split.train.items()}
    again = train(model.fitted.spec, x, [0])
    for a, b in zip(model.fitted.stack.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_member_does_not_depend_on_its_neighbours(fitted):
    alone = own_data.trained(steps=400, n_members=1, held_out=0.2)
    np.testing.assert_allclose(
        alone.get_latent_representation(), fitted.get_latent_representation(), atol=1e-2
    )
    assert not np.allclose(
        alone.get_latent_representation(), fitted.get_latent_representation(member=1), atol=0.1
    )


def test_held_out_rows_are_not_trained_on():
    one, other = own_data.cells(), own_data.cells()
    model = own_data.model(own_data.set_up(one))
    held_out = model.split.held_out["target"]
    x = other.X.toarray()
    x[own_data.CELLS // 2 + held_out] = x[own_data.CELLS // 2 + held_out][:, ::-1] + 3
    other.X = x
    parameters = [
        own_data.trained(own_data.set_up(a)).fitted.stack.decoder.layers[0].weight for a in (one, other)
    ]
    assert torch.equal(*parameters)
    for source, rows in model.split.held_out.items():
        train_rows = model.split.train[source]
        assert sorted([*rows, *train_rows]) == list(range(len(model.observed.x[source])))


def test_elbo_is_the_mean_of_its_splits(fitted):
    tables = {
        s: fitted.get_elbo(s, draws=100).set_index(["member", "source"]) for s in ("train", "held_out", "all")
    }
    whole = sum(tables[s]["elbo"] * tables[s]["rows"] for s in ("train", "held_out")) / tables["all"]["rows"]
    np.testing.assert_allclose(whole, tables["all"]["elbo"], rtol=3e-3)
    assert tables["all"]["kl_salient"].isna().groupby("source").all().to_dict() == {
        "background": True,
        "target": False,
    }


def test_epochs_are_passes_over_the_largest_source():
    adata = own_data.set_up(own_data.cells(), background="drug")
    model = own_data.model(adata[20:].copy(), held_out=0.25)
    rows = {s: len(r) for s, r in model.split.train.items()}
    assert rows == {"background": 60, "target": 45}
    model.train(max_epochs=4, batch_size=16)
    assert model.fitted.spec.training.steps == 15
    assert model.history["step"].max() == 15


class Known:
    """Stands for a trained stack whose latents are given: (source, block) to (E, n, d)."""

    def __init__(self, means, finite=(True, True)):
        self._means, self.finite = means, np.array(finite)
        self.spec = SimpleNamespace(seeds=range(len(finite)))

    members, check_member = Fitted.members, Fitted.check_member

    def means(self, x):
        return {key: m[:, : next(iter(x.values())).shape[1]] for key, m in self._means.items() if key[0] in x}


def with_latents(means, finite=(True, True)):
    rows = next(iter(means.values())).shape[1]
    arrays = {s: np.random.default_rng(0).standard_normal((rows, 3)) for s in ("background", "target")}
    labels = {"target": np.where(means["target", "salient"][0, :, 0] > 0, "a", "b")}
    model = cdgm.ComparativeVAE.from_arrays(arrays, n_members=len(finite), labels=labels, held_out=0.3)
    model._fitted = Known(means, finite)
    return model


def drawn(rows=200, dims=3, seed=0):
    rng = np.random.default_rng(seed)
    keys = [
        ("background", "background"),
        ("background", "salient"),
        ("target", "background"),
        ("target", "salient"),
    ]
    return {key: rng.standard_normal((2, rows, dims)) for key in keys}


def test_leakage_tells_traces_from_none():
    means = drawn()
    # Member 1: the background block of target cells holds what is salient; sources and labels are seen in it.
    means["target", "background"][1, :, 0] = means["target", "salient"][0, :, 0] + 2.5
    means["target", "salient"][1] = means["target", "salient"][0]
    table = with_latents(means).get_leakage(split="all").set_index(["member", "metric", "block", "source"])
    pair, joint = "background&salient", "background&target"
    asked = [("hsic", pair, "target"), ("source_separation", "background", joint)]
    asked += [("source_mixing", "background", "target"), ("knn_accuracy", "background", "target")]
    for question in asked:
        none, trace = table.loc[(0, *question)], table.loc[(1, *question)]
        assert trace["trace"], question
        assert trace["value"] > none["value"]
        # Under the null, .05 of all questions look like traces; these four do not with this seed.
        assert not none["trace"], question
    assert table.loc[(1, *asked[0]), "p"] == pytest.approx(1 / 201)
    assert table.loc[(0, *asked[0]), "p"] > 0.05
    assert table.loc[(0, "knn_accuracy", "salient", "target"), "value"] > 0.8
    # A question about one source has no mixing.
    assert not {("source_mixing", "salient")} & set(table.index.droplevel([0, 3]))


def test_stability_is_agreement_up_to_a_linear_map():
    means = drawn(rows=400)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    for source in ("background", "target"):
        means[source, "background"][1] = 2 * means[source, "background"][0] @ turn
    table = with_latents(means).stability().set_index("block")
    assert table.loc["background", "agreement"] == pytest.approx(1)
    assert table.loc["background", "r2"] == pytest.approx(1)
    # Independent blocks agree as much as permuted ones.
    assert abs(table.loc["salient", "agreement"]) < 0.15
    assert -0.1 < table.loc["salient", "r2"] < 0.1
    assert table.loc["salient", "null_high"] < 0.3
    assert table.loc["salient", "r2_null_high"] < 0.1


def test_members_that_diverged_are_left_out():
    model = with_latents(drawn(), finite=(True, False))
    refused(model.stability, "1 finite member", "n_members=")
    refused(lambda: model.fitted.check_member(1), "member 1", "diverged")
    assert set(model.get_leakage()["member"]) == {0}
    arrays = {s: np.full((30, 3), 1e30) * np.arange(1, 4) for s in ("background", "target")}
    lost = cdgm.ComparativeVAE.from_arrays(arrays, standardise=False, variant="cvae")
    lost.train(max_steps=5)
    refused(lost.get_leakage, "all members diverged", "learning_rate")


def test_ranking_is_what_a_linear_decoder_adds():
    rng = np.random.default_rng(0)
    arrays = {s: 5 + 3 * rng.standard_normal((60, 7)) for s in ("healthy", "ill")}
    model = cdgm.ComparativeVAE.from_arrays(
        arrays, variant="cvae", n_background=2, n_salient=3, n_members=2, model={"decoder_hidden": []}
    )
    model.train(max_steps=60)
    salient = model.get_latent_representation("salient", source="ill", member="all")
    weights = model.fitted.stack.decoder.layers[0].weight.detach().numpy()[:, 2:]
    added = np.einsum("end,edf->enf", salient, weights) * model.scaling.scale
    table = model.rank_genes().set_index("gene").loc[model.observed.features]
    np.testing.assert_allclose(table["change"], added.mean(axis=(0, 1)), atol=1e-5)
    np.testing.assert_allclose(table["size"], np.sqrt((added**2).mean(axis=1)).mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(table["spread"], added.std(axis=1).mean(axis=0), atol=1e-4)
    signs = np.sign(added.mean(axis=1))
    np.testing.assert_array_equal(
        table["members_agree"], (signs == np.sign(table["change"].to_numpy())).mean(0)
    )


def test_ranking_finds_the_moved_genes(fitted):
    table = fitted.rank_genes()
    moved = {f"g{j}" for j in range(own_data.MOVED)}
    assert len(moved & set(table["gene"][: own_data.MOVED])) >= own_data.MOVED - 1
    up, down = (fitted.rank_genes(label=label).set_index("gene")["change"] for label in ("up", "down"))
    # The first latent moves its genes one way in one half of the cells, the other way in the other.
    assert up.corr(down) < -0.5
    refused(lambda: fitted.rank_genes(label="left"), "label", "'left'", "['down', 'up']")
    refused(lambda: fitted.rank_genes(block="background"), "block", "'background'", "['salient']")


def test_a_saved_model_is_the_same_model(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    again = cdgm.ComparativeVAE.load(tmp_path / "model", fitted.adata)
    for block in ("background", "salient"):
        np.testing.assert_array_equal(
            again.get_latent_representation(block, member=1),
            fitted.get_latent_representation(block, member=1),
        )
    assert again.get_elbo().equals(fitted.get_elbo())
    assert again.rank_genes().equals(fitted.rank_genes())
    assert again.history.equals(fitted.history)
    assert repr(again) == repr(fitted)
    # Saved again it is the same to the byte, and a fresh object needs no setup.
    again = cdgm.ComparativeVAE.load(tmp_path / "model", own_data.cells())
    again.save(tmp_path / "again")
    for file in (tmp_path / "model").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def test_a_model_of_arrays_is_saved_with_its_scaling(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {s: 9 + 4 * rng.standard_normal((40, 5)) for s in ("a", "b")}
    model = cdgm.ComparativeVAE.from_arrays(arrays, variant="cvae", n_background=2, n_salient=1)
    model.train(max_steps=20)
    model.save(tmp_path / "model")
    again = cdgm.ComparativeVAE.load(tmp_path / "model", arrays)
    assert again.get_elbo().equals(model.get_elbo())
    refused(
        lambda: cdgm.ComparativeVAE.load(tmp_path / "model", {"a": arrays["a"], "b": arrays["b"][1:]}), "40"
    )


def test_a_folder_is_replaced_whole_or_not_at_all(fitted, tmp_path, monkeypatch):
    fitted.save(tmp_path / "model")
    before = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}
    refused(lambda: fitted.save(tmp_path / "model"), "not empty")
    from cdgm.estimator import storage

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_json", full)
    refused(lambda: fitted.save(tmp_path / "model", overwrite=True), "No space left")
    refused(lambda: fitted.save(tmp_path / "other"), "No space left")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()} == before
    monkeypatch.undo()
    fitted.save(tmp_path / "model", overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_is_cleared_away(fitted, tmp_path):
    (tmp_path / ".model.123.part").mkdir()
    (tmp_path / ".model.123.part" / "model.npz").write_bytes(b"half")
    (tmp_path / ".other.123.part").mkdir()
    fitted.save(tmp_path / "model")
    assert {file.name for file in tmp_path.iterdir()} == {"model", ".other.123.part"}
    # Killed just between the two renames: the old folder comes back.
    (tmp_path / "model").rename(tmp_path / ".model.7.old")
    refused(lambda: fitted.save(tmp_path / "model"), "not empty")
    assert cdgm.ComparativeVAE.load(tmp_path / "model", fitted.adata).get_elbo().equals(fitted.get_elbo())


def test_an_empty_working_directory_can_be_written(fitted, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    fitted.save(".")
    assert (tmp_path / "here" / "model.json").is_file()
    assert [file.name for file in tmp_path.iterdir()] == ["here"]


def test_loading_refuses_other_data_and_damage(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    load = cdgm.ComparativeVAE.load
    adata = own_data.cells()
    refused(lambda: load(tmp_path, adata), "model.json", "cannot be read")
    refused(lambda: load(tmp_path / "model", adata[1:].copy()), "the data that the model was fitted to")
    refused(lambda: load(tmp_path / "model", adata[:, 1:].copy()), "adata.var_names", "'no g0'")
    refused(lambda: load(tmp_path / "model", {"background": adata.X}), "AnnData")
    (tmp_path / "model" / "model.npz").write_bytes(b"PK")
    refused(lambda: load(tmp_path / "model", adata), "model.npz", "not a readable .npz file")


def test_an_annotated_object_can_be_written(fitted, tmp_path):
    adata = fitted.to_anndata()
    assert adata is fitted.adata
    adata.write_h5ad(tmp_path / "cells.h5ad")
    read = anndata.read_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(read.obsm["X_cdgm_salient"], fitted.get_latent_representation("salient"))
    assert list(read.uns["cdgm"]["features"]) == list(adata.var_names)
    assert read.obs["cdgm_held_out"].sum() == 32
    # What was set up stays so in the file.
    assert own_data.model(read).observed.digest() == fitted.observed.digest()


def test_more_sources_and_blocks():
    rng = np.random.default_rng(0)
    names = ["CD4+", "CD8+", "day0.5"]  # signs that separate names elsewhere
    arrays = {s: rng.standard_normal((30 + i, 5)) for i, s in enumerate(names)}
    design = {"sources": names, "blocks": {"shared": names, "own": ["CD8+"]}}
    model = cdgm.ComparativeVAE.from_arrays(
        arrays, design=design, dims={"shared": 2, "own": 1}, variant="cvae", n_members=2
    )
    model.train(max_steps=20)
    assert model.get_latent_representation("shared").shape == (93, 2)
    assert model.get_latent_representation("own", source="CD8+").shape == (31, 1)
    assert set(model.stability()["block"]) == {"shared", "own"}
    assert set(model.get_leakage()["block"]) >= {"shared&own", "shared"}
    separation = model.get_leakage().set_index("metric").loc["source_separation", "source"]
    assert set(separation) == {"CD4+&CD8+&day0.5"}
    assert len(model.rank_genes()) == 5
    adata = model.to_anndata()
    assert list(adata.obs["source"].value_counts(sort=False)) == [30, 31, 32]
    refused(lambda: cdgm.ComparativeVAE.from_arrays(arrays), "sources", "design=")
    refused(lambda: cdgm.ComparativeVAE.from_arrays(arrays, design=design), "dims", "'shared'")
    model = {"sources": ["a", "b"], "blocks": {"shared": ["a", "b"]}}
    refused(
        lambda: cdgm.ComparativeVAE.from_arrays(arrays, design=model, dims={"shared": 1}),
        "sources of the data",
    )

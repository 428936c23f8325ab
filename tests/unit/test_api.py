"""A ComparativeModel gives results that are known or computed another way, and is saved and loaded whole."""

from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pytest
import torch
import yaml

import cdgm
from cdgm.estimator import defaults, model_folder
from cdgm.estimator.ensemble import Ensemble
from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE
from cdgm.evaluation.metrics.recovery import recovery_cc
from cdgm.training.loop import train
from cdgm.utils import folders
from tests.unit import small_cells
from tests.unit.data_helpers import refused

ROOT = Path(__file__).parents[2]
make, load = cdgm.ComparativeModel.from_arrays, cdgm.ComparativeModel.load


@pytest.fixture(scope="module")
def trained():
    """Two members, trained long enough to tell blocks apart."""
    return small_cells.trained(steps=400, n_members=2, held_out=0.2)


def noise(rows=40, features=5, sources=("a", "b")) -> dict[str, np.ndarray]:
    """Real values with a mean of 5 and a standard deviation of 2."""
    rng = np.random.default_rng(0)
    return {source: 5 + 2 * rng.standard_normal((rows, features)) for source in sources}


def test_installed_settings_are_those_of_the_workflow():
    config = yaml.load((ROOT / "config.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
    assert defaults.defaults() == defaults.from_config(config), (
        "write them anew: python -m cdgm.estimator.defaults > defaults.json; mv defaults.json cdgm/estimator/"
    )
    assert "mo-co-cvae" in cdgm.ComparativeModel.variants()


@pytest.mark.parametrize("variant", defaults.variant_names())
def test_every_variant_trains(variant):
    model = small_cells.model(variant=variant)
    assert not model.is_trained
    model.train(max_steps=3)
    assert model.is_trained
    assert np.isfinite(model.get_latent_representation()).all()


@pytest.mark.slow
def test_blocks_are_found(trained):
    z, t = small_cells.latents()
    target = np.arange(len(t)) >= len(t) // 2
    for member in (0, 1):
        assert recovery_cc(trained.get_latent_representation("background", member=member), z) > 0.6
        salient = trained.get_latent_representation("salient", source="target", member=member)
        assert recovery_cc(salient, t[target]) > 0.6


def test_latents_come_in_the_order_of_the_data():
    adata = small_cells.cells()
    mixed = small_cells.set_up(adata[np.random.default_rng(3).permutation(adata.n_obs)].copy())
    model = small_cells.trained(mixed)
    for source, name in (("background", "ctrl"), ("target", "drug")):
        own = (mixed.obs["condition"] == name).to_numpy()
        rows = torch.as_tensor(mixed.X[own].toarray())[None]
        expected = model.ensemble.stack.block_means(rows, source)
        for block in ("background", "salient"):
            whole = model.get_latent_representation(block)
            assert whole.shape == (adata.n_obs, 2)
            np.testing.assert_allclose(whole[own], expected[block][0].detach(), rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(whole[own], model.get_latent_representation(block, source=source))


def test_other_cells_are_seen_through_the_same_genes(trained):
    other = small_cells.cells(seed=5)
    whole = trained.get_latent_representation("background", data=small_cells.cells())
    np.testing.assert_array_equal(whole, trained.get_latent_representation("background"))
    # Genes are found by name, cells of one source are enough, and no setup is needed.
    turned = other[small_cells.CELLS // 2 :, list(other.var_names[::-1])].copy()
    found = trained.get_latent_representation(data=turned)
    assert found.shape == (small_cells.CELLS // 2, 2)
    np.testing.assert_array_equal(found, trained.get_latent_representation(data=other, source="target"))
    refused(lambda: trained.get_latent_representation(data=other[:, 2:]), "adata.var_names", "'no g0'")
    refused(lambda: trained.get_latent_representation(data=turned, source="background"), "of these data")
    refused(lambda: trained.get_latent_representation(data={"background": other.X}), "AnnData")


def test_other_rows_of_arrays_are_scaled_as_those_of_the_model():
    data = noise()
    model = make(data, variant="cvae", n_background=2, n_salient=1)
    model.train(max_steps=5)
    some = model.get_latent_representation(data={"b": data["b"][7:9]})
    np.testing.assert_allclose(some, model.get_latent_representation(source="b")[7:9], rtol=1e-5)
    refused(lambda: model.get_latent_representation(data={"c": data["b"]}), "source", "'c'")
    narrow = {"b": data["b"][:, 1:]}
    refused(lambda: model.get_latent_representation(data=narrow), "features", "4, expected 5, as the model")


def test_it_is_the_training_of_the_package():
    model = small_cells.trained()
    again = train(model.ensemble.spec, model.network_input("train"), [0])
    for a, b in zip(model.ensemble.stack.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_held_out_rows_are_not_trained_on():
    one, other = small_cells.cells(), small_cells.cells()
    split = small_cells.model(small_cells.set_up(one)).split
    x, held_out = other.X.toarray(), small_cells.CELLS // 2 + split.rows("held_out")["target"]
    x[held_out] = x[held_out][:, ::-1] + 3
    other.X = x
    models = [small_cells.trained(small_cells.set_up(adata)) for adata in (one, other)]
    assert torch.equal(*(model.ensemble.stack.decoder.layers[0].weight for model in models))
    for source, rows in split.rows("held_out").items():
        assert sorted([*rows, *split.rows("train")[source]]) == list(range(small_cells.CELLS // 2))


def test_elbo_is_the_mean_of_its_splits(trained):
    splits = ("train", "held_out", "all")
    train, held_out, whole = (trained.get_elbo(s, 100).set_index(["member", "source"]) for s in splits)
    summed = sum(table["elbo"] * table["rows"] for table in (train, held_out))
    np.testing.assert_allclose(summed / whole["rows"], whole["elbo"], rtol=3e-3)
    missing = whole["kl_salient"].isna().groupby("source").all()
    assert missing.to_dict() == {"background": True, "target": False}


def test_epochs_are_passes_over_the_largest_source():
    adata = small_cells.set_up(small_cells.cells(), background="drug")
    model = small_cells.model(adata[20:].copy(), held_out=0.25)
    rows = {source: len(found) for source, found in model.split.rows("train").items()}
    assert rows == {"background": 60, "target": 45}
    model.train(max_epochs=4, batch_size=16)
    assert model.ensemble.spec.training.steps == model.history["step"].max() == 15


class Known:
    """Stands for trained members whose latents are given: (source, block) to (E, n, d)."""

    def __init__(self, means, finite):
        self._means, self.finite = means, np.array(finite)
        self.spec = SimpleNamespace(seeds=range(len(finite)))

    members, check_member = Ensemble.members, Ensemble.check_member

    def means(self, x, covariates=None):
        return {key: m[:, : next(iter(x.values())).shape[1]] for key, m in self._means.items() if key[0] in x}


def with_latents(means, finite=(True, True)):
    arrays = noise(next(iter(means.values())).shape[1], 3, ("background", "target"))
    labels = {"target": np.where(means["target", "salient"][0, :, 0] > 0, "a", "b")}
    model = make(arrays, n_members=len(finite), labels=labels, held_out=0.3)
    model.ensemble = Known(means, finite)
    return model


def drawn(rows=200):
    rng, names = np.random.default_rng(0), ("background", "salient")
    return {(s, b): rng.standard_normal((2, rows, 3)) for s in ("background", "target") for b in names}


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
        # Under the null, .05 of all questions show a trace; these four do not with this seed.
        assert (none["trace"], trace["trace"]) == (False, True), question
        assert trace["value"] > none["value"]
    # Two rounds of 200 shifts, of which one leaves the rows as they are.
    assert table.loc[(1, *asked[0]), "p"] == pytest.approx(1 / 400)
    assert table.loc[(0, *asked[0]), "p"] > 0.05
    assert table.loc[(0, "knn_accuracy", "salient", "target"), "value"] > 0.8
    # Member 1 has no axis that varies in one source only; this one has.
    asymmetry = table.xs("axis_asymmetry", level="metric")
    assert asymmetry.index.unique().tolist() == [(e, "background", "target&background") for e in (0, 1)]
    assert (asymmetry["value"] < 2).all()
    means["background", "background"][1, :, 0] *= 0.01
    moved = with_latents(means).get_leakage(1, split="all").set_index("metric").loc["axis_asymmetry"]
    assert moved["trace"]
    assert moved["value"] > ALIVE_IN_ONE
    assert moved["p"] == pytest.approx(1 / 201)
    # A block of one source has no mixing.
    assert not {("source_mixing", "salient")} & set(table.index.droplevel([0, 3]))


def test_members_that_diverged_are_left_out():
    model = with_latents(drawn(), finite=(True, False))
    refused(model.stability, "1 finite member", "n_members=")
    refused(lambda: model.ensemble.check_member(1), "member 1", "diverged")
    assert set(model.get_leakage()["member"]) == {0}
    arrays = {s: np.full((30, 3), 1e30) * np.arange(1, 4) for s in ("background", "target")}
    lost = make(arrays, standardise=False, variant="cvae")
    lost.train(max_steps=5)
    refused(lost.get_leakage, "all members diverged", "learning_rate")


def test_ranking_is_what_a_linear_decoder_adds():
    model = make(
        noise(60, 7, ("healthy", "ill")), variant="cvae", n_background=2, n_salient=3, n_members=2,
        model={"decoder_hidden": []},
    )  # fmt: skip
    model.train(max_steps=60)
    salient = model.get_latent_representation("salient", source="ill", member="all")
    weights = model.ensemble.stack.decoder.layers[0].weight.detach().numpy()[:, 2:]
    added = np.einsum("end,edf->enf", salient, weights) * model.scaling.scale
    table = model.rank_genes().set_index("gene").loc[model.observations.features]
    np.testing.assert_allclose(table["change"], added.mean(axis=(0, 1)), atol=1e-5)
    np.testing.assert_allclose(table["size"], np.sqrt((added**2).mean(axis=1)).mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(table["spread"], added.std(axis=1).mean(axis=0), atol=1e-4)
    agree = (np.sign(added.mean(axis=1)) == np.sign(table["change"].to_numpy())).sum(axis=0)
    assert list(table["members_agree"]) == [f"{n} of 2" for n in agree]


def test_ranking_finds_the_moved_genes(trained):
    moved = {f"g{j}" for j in range(small_cells.MOVED)}
    assert len(moved & set(trained.rank_genes()["gene"][: len(moved)])) >= len(moved) - 1
    up, down = (trained.rank_genes(label=label).set_index("gene")["change"] for label in ("up", "down"))
    # The first latent moves its genes one way in one half of the cells, the other way in the other.
    assert up.corr(down) < -0.5
    refused(lambda: trained.rank_genes(label="left"), "label", "'left'", "['down', 'up']")
    refused(lambda: trained.rank_genes(block="background"), "block", "'background'", "['salient']")


def test_a_saved_model_is_the_same_model(trained, tmp_path):
    trained.save(tmp_path / "model")
    adata = trained.observations.adata
    again = load(tmp_path / "model", adata)
    assert again.get_elbo().equals(trained.get_elbo())
    assert again.rank_genes().equals(trained.rank_genes())
    assert again.history.equals(trained.history)
    assert repr(again) == repr(trained)
    # Saved again it is the same to the byte, and a fresh object needs no setup.
    again = load(tmp_path / "model", small_cells.cells())
    again.save(tmp_path / "again")
    for file in (tmp_path / "model").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name
    other = load(tmp_path / "model", small_cells.cells(kind=["x"] * small_cells.CELLS), "kind")
    assert set(other.observations.label) == {"x"}


def test_a_model_of_arrays_is_saved_with_its_scaling(tmp_path):
    arrays = noise()
    model = make(arrays, variant="cvae", n_background=2, n_salient=1)
    model.train(max_steps=20)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model", arrays)
    assert again.get_elbo().equals(model.get_elbo())
    fewer = {"a": arrays["a"], "b": arrays["b"][1:]}
    refused(lambda: load(tmp_path / "model", fewer), "same rows and order: {'a': 40, 'b': 40}")
    narrow = {source: x[:, 1:] for source, x in arrays.items()}
    refused(lambda: load(tmp_path / "model", narrow), "arrays", "features", "5, as the model has")
    refused(lambda: load(tmp_path / "model", arrays, "kind"), "labels_key", "AnnData")


def test_a_folder_is_replaced_whole_or_not_at_all(trained, tmp_path, monkeypatch):
    trained.save(tmp_path / "model")
    before = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}
    refused(lambda: trained.save(tmp_path / "model"), "not empty")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_folder, "write_json", full)
    refused(lambda: trained.save(tmp_path / "model", overwrite=True), "No space left")
    refused(lambda: trained.save(tmp_path / "other"), "No space left")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()} == before
    monkeypatch.undo()
    trained.save(tmp_path / "model", overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_folders_of_a_killed_process_are_deleted(trained, tmp_path, monkeypatch):
    (tmp_path / ".model.123.part").mkdir()
    (tmp_path / ".model.123.part" / "model.npz").write_bytes(b"half")
    (tmp_path / ".model.123.part" / folders.UNFINISHED).touch()
    (tmp_path / ".other.123.part").mkdir()
    trained.save(tmp_path / "model")
    assert {file.name for file in tmp_path.iterdir()} == {"model", ".other.123.part"}
    # Killed just between the two renames: the old folder comes back, or the new one takes its place.
    (tmp_path / "model").rename(tmp_path / ".model.7.old")
    refused(lambda: trained.save(tmp_path / "model"), "not empty")
    adata = trained.observations.adata
    assert load(tmp_path / "model", adata).get_elbo().equals(trained.get_elbo())
    # An empty working directory can be written.
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    trained.save(".")
    assert (tmp_path / "here" / "model.json").is_file()


def test_loading_refuses_other_data_and_damage(trained, tmp_path):
    trained.save(tmp_path / "model")
    adata = small_cells.cells()
    refused(lambda: load(tmp_path, adata), "model.json", "cannot be read")
    refused(lambda: load(tmp_path / "model", adata[1:].copy()), "the data that the model was fitted to")
    refused(lambda: load(tmp_path / "model", adata[:, 1:].copy()), "adata.var_names", "'no g0'")
    refused(lambda: load(tmp_path / "model", {"background": adata.X}), "AnnData")
    (tmp_path / "model" / "model.npz").write_bytes(b"PK")
    refused(lambda: load(tmp_path / "model", adata), "model.npz", "not a readable .npz file")


def test_an_annotated_object_can_be_written(trained, tmp_path):
    adata = trained.to_anndata()
    assert adata is trained.observations.adata
    adata.write_h5ad(tmp_path / "cells.h5ad")
    read = anndata.read_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(read.obsm["X_cdgm_salient"], trained.get_latent_representation("salient"))
    assert list(read.uns["cdgm"]["features"]) == list(adata.var_names)
    assert read.obs["cdgm_held_out"].sum() == 32
    # The file keeps what was set up.
    assert small_cells.model(read).observations.digest() == trained.observations.digest()


def test_more_sources_and_blocks():
    names = ["CD4+", "CD8+", "day0.5"]  # signs that separate names elsewhere
    arrays = {source: x[i:] for i, (source, x) in enumerate(noise(32, sources=names).items())}
    design = {"sources": names, "blocks": {"shared": names, "own": ["CD8+"]}}
    model = make(arrays, design=design, dims={"shared": 2, "own": 1}, variant="cvae", n_members=2)
    model.train(max_steps=20)
    assert model.get_latent_representation("shared").shape == (93, 2)
    assert model.get_latent_representation("own", source="CD8+").shape == (31, 1)
    assert set(model.stability()["block"]) == {"shared", "own"}
    leakage = model.get_leakage()
    assert set(leakage["block"]) >= {"shared&own", "shared"}
    assert set(leakage.set_index("metric").loc["source_separation", "source"]) == {"CD4+&CD8+&day0.5"}
    assert len(model.rank_genes()) == 5
    assert list(model.to_anndata().obs["source"].value_counts(sort=False)) == [32, 31, 30]
    refused(lambda: make(arrays), "sources", "design=")
    refused(lambda: make(arrays, design=design), "dims", "'shared'")
    two = {"sources": ["a", "b"], "blocks": {"shared": ["a", "b"]}}
    refused(lambda: make(arrays, design=two, dims={"shared": 1}), "sources of the data")

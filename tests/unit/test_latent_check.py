"""Spaces of other methods: planted faults are found, clean spaces not blamed, mistakes one line."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import cdgm
from cdgm.cli.main import main
from cdgm.estimator.latent_check import LatentCheck
from tests.unit.test_api_command_line import stopped
from tests.unit.test_pages import Page

N, M = 300, 400
KEYS = {"source_key": "group", "background": "ctrl"}
OPTIONS = ["--source-key", "group", "--background", "ctrl"]


def cells(moved: bool = False, seeds: int = 1, seed: int = 0) -> AnnData:
    """Cells with a shared space of 4 axes and a salient one of 3; one of these can have ``moved``."""
    rng = np.random.default_rng(seed)
    z, t = rng.standard_normal((N + M, 4)), rng.standard_normal((N + M, 3))
    target = np.arange(N + M) >= N
    obs = pd.DataFrame(
        {
            "group": np.where(target, "drug", "ctrl"),
            "guide": np.where(target, np.where(t[:, 0] > 0, "up", "down"), ""),
            "donor": np.where(z[:, 1] > 0, "d1", "d2"),
        },
        index=[f"c{i}" for i in range(N + M)],
    )
    adata = AnnData(rng.poisson(3.0, (N + M, 5)).astype(np.float32), obs)
    if moved:
        z[:, 3] = np.where(target, t[:, 0], 0.02 * z[:, 3])
        t = t[:, 1:]
    for e in range(seeds):
        turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
        adata.obsm[f"shared_{e}"] = z @ turn + 0.01 * rng.standard_normal(z.shape)
        own = t + 0.01 * rng.standard_normal(t.shape)
        own[~target] = np.nan
        adata.obsm[f"own_{e}"] = own
    return adata


def checked(adata: AnnData, seeds: int = 1, **options) -> LatentCheck:
    spaces = ([f"{name}_{e}" for e in range(seeds)] for name in ("shared", "own"))
    return cdgm.check_latents(adata, "group", "ctrl", *spaces, draws=60, **options)


def values(found, metric: str) -> dict[tuple[str, str], float]:
    rows = found.leakage[found.leakage["metric"] == metric]
    return dict(zip(zip(rows["block"], rows["source"], strict=True), rows["value"], strict=True))


def verdicts(found) -> dict[str, str]:
    return {check.term: check.verdict for check in found.checks()}


def test_clean_spaces_are_not_blamed():
    found = checked(cells(), labels_key="guide")
    assert verdicts(found) | {"stability": "open", "labels": ""} == {
        "stability": "open", "labels": "", "asymmetry": "good", "hsic": "good", "separation": "good",
    }  # fmt: skip
    assert found.stability is None
    # Of background cells the labels are empty, and the salient space is not looked at.
    assert set(values(found, "knn_accuracy")) == {("background", "target"), ("salient", "target")}
    assert values(found, "knn_accuracy")["salient", "target"] > 0.9


def test_a_moved_axis_is_found():
    found = checked(cells(moved=True), labels_key="guide")
    assert values(found, "axis_asymmetry")["background", "target&background"] > 10
    assert verdicts(found)["asymmetry"] == "doubt"
    assert "Do not interpret" in found.summary().text
    assert "warm up the KL term" in next(c.text for c in found.checks() if c.term == "asymmetry")


def test_scores_depend_on_neither_unit_nor_rotation():
    adata = cells(moved=True)
    before = checked(adata, batch_key="donor").leakage
    rng = np.random.default_rng(1)
    for key, d in (("shared_0", 4), ("own_0", 2)):
        turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
        adata.obsm[key] = 37.0 * (adata.obsm[key] @ turn) - 5.0
    after = checked(adata, batch_key="donor").leakage
    # The jitter that breaks ties of neighbours is the one thing that differs.
    np.testing.assert_allclose(after["value"], before["value"], rtol=0.02, atol=1e-3)


def test_a_batch_counts_beyond_what_sizes_tell():
    adata = cells()
    found = checked(adata, batch_key="donor")
    floor = found.leakage.query("metric == 'batch_accuracy' and source == 'target'").set_index("block")[
        "floor"
    ]
    assert floor.between(0.4, 0.6).all()
    about = {check.about: check.verdict for check in found.checks() if check.term == "batches"}
    assert about["donor in the background block"] == "minor"
    assert about["donor in the salient block"] == "good"
    # Where sizes tell the batch as well as the space does, it is no objection.
    adata.X[:, 0] += np.where(adata.obs["donor"] == "d1", 1000, 0)
    found = checked(adata, batch_key="donor")
    about = {check.about: check.verdict for check in found.checks() if check.term == "batches"}
    assert about["donor in the background block"] == "good"


def test_without_a_matrix_there_are_no_floors():
    adata = cells()
    bare = AnnData(obs=adata.obs, obsm=dict(adata.obsm))
    assert checked(bare, batch_key="donor").leakage["floor"].isna().all()


def test_seeds_are_compared():
    adata = cells(seeds=3)
    found = checked(adata, seeds=3)
    assert len(found.stability) == 2 * 3
    assert found.stability["r2"].min() > 0.95
    adata.obsm["shared_2"] = np.random.default_rng(5).standard_normal((N + M, 4))
    about = {check.about: check.verdict for check in checked(adata, seeds=3).checks()}
    assert about["stability of the background block"] == "doubt"
    assert about["stability of the salient block"] == "good"


def test_the_same_cells_give_the_same_table():
    adata = cells(seeds=2)
    once, again = (checked(adata, seeds=2, batch_key="donor").leakage for _ in range(2))
    pd.testing.assert_frame_equal(once, again)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.obsm.pop("own_0"), "obsm.*'own_0'.*shared_0"),
        (lambda a: a.obsm["own_0"].__setitem__((N + 1, 0), np.inf), r"own_0.*'c301'.*axis 0.*inf"),
        (lambda a: a.obsm.__setitem__("shared_0", np.array([["a"]] * (N + M))), "shared_0.*numbers"),
        (lambda a: a.obs.__setitem__("group", "ctrl"), "group.*target"),
        (lambda a: a.obs.pop("donor"), "batch_key.*'donor'"),
    ],
)
def test_mistakes_are_named(change, message):
    adata = cells()
    change(adata)
    with pytest.raises(cdgm.UserError, match=message):
        checked(adata, batch_key="donor")


def test_seeds_pair_up():
    adata = cells(seeds=2)
    with pytest.raises(cdgm.UserError, match=r"salient_space.*1, expected 2"):
        cdgm.check_latents(adata, "group", "ctrl", ["shared_0", "shared_1"], "own_0")
    adata.obsm["own_1"] = adata.obsm["own_1"][:, :2]
    with pytest.raises(cdgm.UserError, match=r"own_1.*dimensions.*2, expected 3, as 'own_0' has"):
        checked(adata, seeds=2)


def test_the_command_writes_the_page(tmp_path, capsys):
    cells(seeds=2).write_h5ad(tmp_path / "cells.h5ad")
    spaces = ["--background-space", "shared_0", "shared_1", "--salient-space", "own_0", "own_1"]
    given = [
        "check",
        str(tmp_path / "cells.h5ad"),
        *OPTIONS,
        *spaces,
        "--labels-key",
        "guide",
        "--map",
        "pca",
    ]
    main([*given, "--out", str(tmp_path / "out")])
    assert "stability of the background block" in capsys.readouterr().out
    page = Page((tmp_path / "out/report.html").read_text(encoding="utf-8"))
    assert {"leakage.csv", "stability.csv", "figures/maps.png"} <= {*page.links, *page.pictures}
    for file in {*page.links, *page.pictures}:
        assert file.startswith("#") or (tmp_path / "out" / file).is_file(), file
    line = stopped(capsys, *given[:-4], "--batch-key", "plate", "--out", tmp_path / "other")
    assert "cells.h5ad: obs: --batch-key" in line
    assert not (tmp_path / "other").exists()

"""Several starts of a member and pruning, for one's own data: what is kept, recorded, saved and told."""

import json

import numpy as np
import pytest

import cdgm
from cdgm.cli.main import main
from cdgm.estimator.early_stopping import validation_elbo
from cdgm.estimator.starts import Starts
from tests.unit.data_helpers import refused

SMALL = {"model": {"encoder_hidden": [16], "decoder_hidden": []}, "held_out": 0.3}
TRAINING = {"max_steps": 100, "progress_bar": False}
#: Makes the shared block cheap at first, so that what is private moves there.
SHARED_FIRST = {"combiner": {"kind": "sum"}, "kl_schedule": {"shared": {"from": 0, "to": 1, "share": 0.5}}}


def simulated(n: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    """Two background dimensions, one salient, linear mixing."""
    rng = np.random.default_rng(seed)
    mixing = 2 * rng.standard_normal((3, 12))
    latents = rng.standard_normal((2 * n, 3))
    latents[:n, 2] = 0
    x = latents @ mixing + 0.1 * rng.standard_normal((2 * n, 12))
    return {"a": x[:n], "b": x[n:]}


def model_of(x, n_members=2, n_background=2, variant="cvae", **options):
    options = SMALL | {"n_background": n_background, "n_salient": 1} | options
    return cdgm.ComparativeModel.from_arrays(x, variant=variant, n_members=n_members, **options)


@pytest.fixture(scope="module")
def x():
    return simulated()


@pytest.fixture(scope="module")
def started(x):
    model = model_of(x)
    model.train(n_starts=3, **TRAINING)
    return model


def test_the_best_start_of_each_member_is_kept(x, started):
    starts = started.ensemble.starts
    assert [len(values) for values in starts.elbo] == [3, 3]
    for values, kept in zip(starts.elbo, starts.kept, strict=True):
        assert values[kept] == max(values)
    # The record is that of the parameters that are kept.
    again = validation_elbo(started.ensemble.stack, started.network_input("validation"), started.seeds)
    np.testing.assert_allclose(again, [max(values) for values in starts.elbo], rtol=1e-4)
    one = model_of(x)
    one.train(**TRAINING)
    assert one.ensemble.starts is None
    alone = validation_elbo(one.ensemble.stack, one.network_input("validation"), one.seeds)
    np.testing.assert_allclose(alone, [values[0] for values in starts.elbo], rtol=1e-4)
    assert started.ensemble.stopping.best_elbo == pytest.approx(
        [max(values) for values in starts.elbo], rel=1e-4
    )
    assert len(started.ensemble.steps) == len(started.get_elbo()["member"].unique()) == 2


def test_rows_are_set_aside_without_early_stopping_too(x):
    model = model_of(x, n_members=1)
    model.train(n_starts=2, early_stopping=False, **TRAINING)
    assert model.ensemble.stopping is None
    assert {len(rows) for rows in model.split.rows("validation").values()} == {21}
    model.train(early_stopping=False, **TRAINING)
    assert model.split.names == ["train", "held_out"]


def test_starts_are_saved_with_the_model(x, started, tmp_path):
    started.save(tmp_path / "model")
    loaded = cdgm.ComparativeModel.load(tmp_path / "model", x)
    assert loaded.ensemble.starts == started.ensemble.starts
    assert np.array_equal(loaded.get_latent_representation(), started.get_latent_representation())
    about = json.loads((tmp_path / "model" / "model.json").read_text())
    about["starts"]["kept"] = [0]
    (tmp_path / "model" / "model.json").write_text(json.dumps(about))
    refused(lambda: cdgm.ComparativeModel.load(tmp_path / "model", x), "starts.kept", "2 values")


def test_what_is_wrong_is_told(x):
    refused(lambda: model_of(x).train(n_starts=0), "n_starts", "0", "at least 1")
    refused(lambda: model_of(x).train(n_starts=1.5), "n_starts", "1.5", "a whole number")
    few = model_of(simulated(50))
    refused(
        lambda: few.train(n_starts=2, **TRAINING), "n_starts", "2", "10 rows to validate", "35 training rows"
    )
    few.train(n_starts=1, max_steps=2, progress_bar=False)
    procedure = {"combiner": {"kind": "sum"}, "procedure": {"kind": "prune", "refits": 2}}
    refused(lambda: model_of(x, variant=procedure), "procedure", "'prune'", "prune_dimensions")
    refused(lambda: cdgm.prune_dimensions(x, max_refits=0), "max_refits", "0", "at least 1")


def test_starts_that_diverged_are_told_as_such():
    found = Starts.of(np.array([[-3.0, np.nan], [-2.0, -1.5]]), [0, 1])
    assert found.elbo == ((-3.0, None), (-2.0, -1.5))
    first, second = found.sentences([7, 8])
    assert "member 0 (seed 7): of 2 starts, number 0" in first
    assert "-3.00, diverged" in first
    assert "number 1 has the highest" in second


@pytest.mark.slow
def test_the_command_line(x, tmp_path, capsys):
    file, small = tmp_path / "arrays.npz", ["--n-background", "2", "--n-salient", "1", "--max-steps", "20"]
    np.savez(file, **x)
    given = [str(file), "--background", "a", *small, "--variant", "cvae"]
    main(["fit", *given, "--members", "1", "--starts", "2", "--map", "pca", "--out", str(tmp_path / "fit")])
    assert "of 2 starts, number" in (tmp_path / "fit" / "report.html").read_text()
    main(
        ["choose", "prune", *given, "--members", "1", "--max-refits", "1", "--out", str(tmp_path / "pruned")]
    )
    assert {file.suffix for file in (tmp_path / "pruned").glob("path.*")} == {".csv", ".png", ".pdf"}
    assert "to fit it: cdgm fit ... --n-background" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["fit", *given, "--starts", "101", "--out", str(tmp_path / "other")])
    assert "--starts: got 101" in capsys.readouterr().err


# ---------------------------------------------------------------- pruning


def test_pruning_ends_where_nothing_has_moved(x):
    found = cdgm.prune_dimensions(
        x,
        n_background=5,
        n_salient=1,
        n_members=2,
        max_steps=300,
        progress_bar=False,
        variant=SHARED_FIRST,
        **SMALL,
    )
    first, last = (found.table[found.table["fit"] == fit] for fit in (0, found.table["fit"].max()))
    assert first["moved_axes"].max() > 0, "nothing has moved: the test tests nothing"
    assert found.n_background == last["n_background"].iloc[0] < 5
    assert found.model.model_spec.dims == {"background": found.n_background, "salient": 1}
    assert found.clean == (last["moved_axes"].max() == 0)
    for fit, rows in found.table.groupby("fit"):
        after = found.table.loc[found.table["fit"] == fit + 1, "n_background"].unique()
        assert len(after) == 0 or after.tolist() == [rows["n_background"].iloc[0] - rows["moved_axes"].max()]
        leaks = rows["axis_asymmetry"] > 3
        assert leaks.tolist() == (rows["moved_axes"] > 0).tolist()


def test_pruning_changes_nothing_where_nothing_has_moved(x):
    found = cdgm.prune_dimensions(
        x, n_background=2, n_salient=1, n_members=1, max_steps=300, progress_bar=False, **SMALL
    )
    assert found.table["fit"].tolist() == [0]
    assert (found.n_background, found.n_salient, found.clean) == (2, 1, True)
    assert "after 1 fit " in found.reason
    plain = model_of(x, n_members=1)
    plain.train(max_steps=300, progress_bar=False)
    assert np.array_equal(plain.get_latent_representation(), found.model.get_latent_representation())


def test_pruning_keeps_to_its_limit(x):
    options = SMALL | {"max_steps": 300, "progress_bar": False, "variant": SHARED_FIRST}
    found = cdgm.prune_dimensions(x, n_background=6, n_salient=1, n_members=1, max_refits=1, **options)
    assert found.table["fit"].max() == 1
    assert found.clean == (found.table["moved_axes"].iloc[-1] == 0)

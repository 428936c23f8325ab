"""Early stopping follows its rule for each member, changes no step, and keeps the best parameters."""

import anndata
import numpy as np
import pytest
import torch

import cdgm
from cdgm.cli.main import main
from cdgm.estimator.early_stopping import ENOUGH_ROWS, EarlyStopping, Patience, Watcher, validation_elbo
from cdgm.estimator.split import Split
from cdgm.training.loop import train
from tests.unit import small_cells
from tests.unit.builders import fit_spec, observations
from tests.unit.data_helpers import refused

NAN, INF = np.nan, np.inf
#: Few rows of noise, which a decoder of this size learns by heart.
ROWS, FEATURES = 80, 20
STOPPING = {"early_stopping": True, "early_stopping_share": 0.3}


def noise() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {source: rng.standard_normal((ROWS, FEATURES)) for source in ("a", "b")}


def overfitting(arrays=None, steps: int = 300, **options):
    """A model of two members that overfits."""
    model = cdgm.ComparativeModel.from_arrays(
        noise() if arrays is None else arrays,
        variant="cvae", n_background=3, n_salient=3, n_members=2, held_out=0.2,
        model={"encoder_hidden": [32], "decoder_hidden": [64]},
    )  # fmt: skip
    model.train(max_steps=steps, learning_rate=0.02, progress_bar=False, **options)
    return model


@pytest.fixture(scope="module")
def stopped():
    return overfitting(**STOPPING)


@pytest.fixture(scope="module")
def plain():
    return overfitting(steps=2)


def parameters(stack, member):
    return np.concatenate([p[member].detach().numpy().ravel() for p in stack.parameters()])


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "best", "ran_out"),
    [
        ([1, 2, 3, 4], 2, 0, 4, 0),
        ([1, 3, 2, 2, 9], 2, 0, 2, 4),
        # An improvement just in time starts the count anew.
        ([1, 3, 2, 4, 3, 3, 9], 2, 0, 4, 6),
        ([3, 2, 1], 1, 0, 1, 2),
        # A tie is no improvement, and the first of equal checks is kept.
        ([1, 3, 3, 3, 9], 2, 0, 2, 4),
        # Too small a rise does not count, yet its parameters are kept.
        ([1, 1.4, 1.3, 9], 2, 0.5, 2, 3),
        # Small rises add up: 1.6 is more than 0.5 above the last improvement.
        ([1, 1.4, 1.6, 1.5, 1.4, 9], 2, 0.5, 3, 5),
        ([1, 1.5, 1.5, 9], 2, 0.5, 2, 3),
        # A value that is not finite is no improvement, and nothing is compared with it.
        ([NAN, 1, NAN, NAN, 9], 2, 0, 2, 4),
        ([1, INF, NAN, 9], 2, 0, 1, 3),
        ([NAN, NAN, 9], 2, 0, 0, 2),
        ([-INF, 1, 2], 2, 0, 3, 0),
    ],
)
def test_the_rule(values, patience, min_delta, best, ran_out):
    """Between a member that always improves and one that never does: neither matters."""
    state = Patience(3, patience, min_delta)
    for step, value in enumerate(values, 1):
        better = state.check(step, np.array([step, value, -step]), np.ones(3, dtype=bool))
        assert better[1] == (state.best_step[1] == step)
    assert state.best_step.tolist() == [len(values), best, 1]
    assert state.ran_out.tolist() == [0, ran_out, 1 + patience if len(values) > patience else 0]
    assert state.best_elbo[1] == (values[best - 1] if best else -INF)


def watcher(x, seeds, patience=10_000):
    return Watcher(EarlyStopping(patience=patience), {s: v[:1] for s, v in x.items()}, seeds)


def test_checks_change_nothing():
    spec = fit_spec(training={"steps": 40})
    x = observations(spec)
    before = torch.get_rng_state()
    plain, watch = train(spec, x, [0, 1, 2]), watcher(x, spec.seeds)
    watched = train(spec, x, [0, 1, 2], watch=watch)
    for a, b in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert plain.history.keys() == watched.history.keys()
    for name, values in plain.history.items():
        assert values.tobytes() == watched.history[name].tobytes(), name
    assert plain.model.training == watched.model.training
    assert torch.equal(before, torch.get_rng_state())
    assert np.isfinite(watch.finish(watched)[0].history["elbo_validation"]).all()


@pytest.mark.slow
def test_a_member_does_not_depend_on_its_neighbours():
    """Members of a stack run out of patience at different steps, and each ends as it does alone."""
    seeds, training = (3, 1, 2), {"steps": 240, "precision": "float64", "learning_rate": 3e-2}

    def fitted(seeds):
        spec = fit_spec(seeds, training=training)
        x = observations(spec, n=40, replicates=1)
        other = {source: values[:, ::-1] + 0.5 for source, values in observations(spec, n=30).items()}
        watch = watcher(other, seeds, patience=4)
        return watch.finish(train(spec, x, [0] * len(seeds), watch=watch))

    together, what = fitted(seeds)
    assert len(set(what.last_step)) > 1
    assert any(what.stopped_early)
    for member, seed in enumerate(seeds):
        alone, single = fitted((seed,))
        for name in ("best_step", "last_step", "stopped_early"):
            assert getattr(single, name)[0] == getattr(what, name)[member], name
        assert single.best_elbo[0] == pytest.approx(what.best_elbo[member], rel=1e-9)
        mine = parameters(together.model, member)
        np.testing.assert_allclose(mine, parameters(alone.model, 0), rtol=1e-9, atol=1e-11)
        # Its history, too, ends where it ends alone.
        for name in ("elbo/target", "elbo_validation", "gradient_norm"):
            mine = together.history[name][:, member]
            np.testing.assert_allclose(mine[np.isfinite(mine)], alone.history[name][:, 0], rtol=1e-7)


def test_a_member_that_diverges_is_left_as_it_is():
    spec = fit_spec(training={"steps": 40, "log_every": 2})
    x = observations(spec)
    for values in x.values():
        values[1] = 1e30
    plain, watch = train(spec, x, [0, 1, 2]), watcher(observations(spec), spec.seeds, patience=3)
    found, what = watch.finish(train(spec, x, [0, 1, 2], watch=watch))
    assert found.finite.tolist() == plain.finite.tolist() == [True, False, True]
    np.testing.assert_array_equal(parameters(found.model, 1), parameters(plain.model, 1))
    assert (what.best_step[1], what.last_step[1], what.best_elbo[1]) == (0, 0, None)
    assert np.isnan(found.history["elbo_validation"][:, 1]).all()
    assert "diverged" in str(what)
    assert len(what.sentences(spec.seeds)) == 2
    # Once all have diverged, training ends.
    lost = {source: np.full_like(values, 1e30) for source, values in x.items()}
    watch = watcher(observations(spec), spec.seeds, patience=3)
    assert train(spec, lost, [0, 1, 2], watch=watch).history["step"].tolist() == [2]


def test_rows_are_set_aside_and_given_back():
    split = Split({"a": np.arange(200, dtype=np.uint8) % 2, "b": np.repeat(np.uint8([0, 1]), [50, 1])})
    apart = split.set_aside(0.2, seed=0)
    assert {s: len(rows) for s, rows in apart.rows("validation").items()} == {"a": 20, "b": 10}
    assert split.names == ["train", "held_out"]
    for source, rows in split.rows("train").items():
        parts = [apart.rows(part)[source] for part in ("train", "validation")]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), rows)
        for same in (apart.set_aside(0, seed=0), split):
            np.testing.assert_array_equal(same.rows("train")[source], rows)
        np.testing.assert_array_equal(apart.set_aside(0.2, 0).part[source], apart.part[source])
        assert not np.array_equal(apart.set_aside(0.2, 1).part[source], apart.part[source])
        np.testing.assert_array_equal(apart.rows("held_out")[source], split.rows("held_out")[source])
    many = Split({"a": np.zeros(100_000, dtype=np.uint8)})
    assert len(many.set_aside(0.1, 0).rows("validation")["a"]) == 500
    refused(lambda: split.set_aside(0.1, 0), "early_stopping_share", "0.1", "'b' has 50", "at least 10")
    refused(lambda: split.set_aside(0.95, 0), "0.95", "10 to train on")
    refused(lambda: split.rows("validation"), "split", "'validation'", "['train', 'held_out', 'all']")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["validation", "held_out"])
def test_rows_set_aside_are_not_trained_on(part, stopped):
    """Other values there: other scores, but the same parameters and the same scale."""
    patient = STOPPING | {"early_stopping_patience": 1_000}
    arrays = noise()
    for source, rows in stopped.split.rows(part).items():
        arrays[source][rows] = 50 - 3 * arrays[source][rows]
    one, other = (overfitting(x, steps=30, **patient) for x in (noise(), arrays))
    for name, values in one.ensemble.history.items():
        same = part == "held_out" or name != "elbo_validation"
        assert np.array_equal(values, other.ensemble.history[name]) == same, name
    np.testing.assert_array_equal(one.scaling.centre, other.scaling.centre)
    assert not np.array_equal(one.get_elbo(part)["elbo"], other.get_elbo(part)["elbo"])
    rows = {
        which: one.get_elbo(which)["rows"].iloc[0] for which in ("train", "validation", "held_out", "all")
    }
    assert rows == {"train": 45, "validation": 19, "held_out": 16, "all": 80}


@pytest.mark.slow
def test_overfitting_is_stopped_and_held_out_rows_are_explained_better(stopped):
    full = overfitting()
    what, elbo = stopped.ensemble.stopping, stopped.get_elbo().groupby("member")["elbo"].mean()
    assert all(what.stopped_early)
    assert all(best < last < 300 for best, last in zip(what.best_step, what.last_step, strict=True))
    assert (elbo > full.get_elbo().groupby("member")["elbo"].mean() + 1).all()
    # Training anew without it gives the rows back.
    again = overfitting(**STOPPING)
    again.train(max_steps=300, learning_rate=0.02, progress_bar=False)
    np.testing.assert_array_equal(parameters(again.ensemble.stack, 0), parameters(full.ensemble.stack, 0))
    assert again.ensemble.stopping is None
    assert again.split.names == ["train", "held_out"]


@pytest.mark.slow
def test_members_hold_their_best_parameters(stopped):
    what = stopped.ensemble.stopping
    again = validation_elbo(stopped.ensemble.stack, stopped.network_input("validation"), stopped.seeds)
    np.testing.assert_allclose(again, what.best_elbo, rtol=1e-6)
    history = stopped.history.query("quantity == 'elbo_validation'")
    checks = history.pivot_table(index="step", columns="seed", values="value", dropna=False)
    np.testing.assert_allclose(checks.max(), what.best_elbo)
    assert tuple(checks.idxmax()) == what.best_step == tuple(stopped.ensemble.steps)
    assert tuple(checks.apply(lambda values: values.last_valid_index())) == what.last_step
    assert what.rule.patience == 4  # a fifth of 300 / 15 checks
    # Members that reach the last step hold their best parameters, too.
    patient = overfitting(steps=40, early_stopping_patience=100, **STOPPING)
    what = patient.ensemble.stopping
    assert (what.last_step, what.stopped_early) == ((40, 40), (False, False))
    again = validation_elbo(patient.ensemble.stack, patient.network_input("validation"), patient.seeds)
    np.testing.assert_allclose(again, what.best_elbo, rtol=1e-6)


@pytest.mark.slow
def test_the_command_line(tmp_path, capsys):
    small_cells.cells().write_h5ad(tmp_path / "cells.h5ad")
    given = ["fit", tmp_path / "cells.h5ad", "--source-key", "condition", "--background", "ctrl"]
    given += ["--members", 2, "--n-background", 2, "--n-salient", 2, "--map", "pca", "--max-steps", 40]
    given += ["--variant", "cvae"]

    def mistake(*more):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, (*given, "--out", tmp_path / "bad", *more))])
        assert stop.value.code == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert not (tmp_path / "bad").exists()
        return line

    # 80 cells a source leave 72, of which a tenth are 7.
    assert "source 'background' has 72 training rows" in mistake("--early-stopping")
    assert "--patience: is about early stopping" in mistake("--patience", 3, "--no-early-stopping")
    small_cells.cells(small_cells.counts(cells=320)).write_h5ad(tmp_path / "cells.h5ad")
    main([*map(str, (*given, "--early-stopping", "--out", tmp_path / "fit", "--patience", 3))])
    cells = anndata.read_h5ad(tmp_path / "cells.h5ad")
    model = cdgm.ComparativeModel.load(tmp_path / "fit" / "model", cells)
    assert model.ensemble.stopping.rule.patience == 3
    page = (tmp_path / "fit" / "report.html").read_text(encoding="utf-8")
    for sentence in model.ensemble.stopping.sentences(model.seeds):
        assert sentence in page
    drawn = (tmp_path / "fit" / "figures" / "training.csv").read_text(encoding="utf-8")
    assert "elbo_validation" in drawn


ON, OFF = {"early_stopping": True}, {"early_stopping": False}


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"early_stopping": 10}, ["early_stopping: got 10", "True, False or None"]),
        (OFF | {"early_stopping_patience": 5}, ["early_stopping_patience: got 5", "early_stopping=False"]),
        (ON | {"early_stopping_patience": 0}, ["patience: got 0", "at least 1"]),
        (ON | {"early_stopping_min_delta": -1}, ["min_delta: got -1", "at least 0"]),
        (ON | {"early_stopping_share": 1}, ["share: got 1", "between 0 and 1"]),
        # 64 rows are trained on.
        (ON, ["share: got 0.1", "source 'a' has 64 training rows", "at least 10"]),
    ],
)
def test_mistakes_are_refused_and_change_nothing(options, parts, plain):
    before = plain.ensemble, plain.split, plain.scaling
    refused(lambda: plain.train(max_steps=2, **options), "train", *parts)
    assert (plain.ensemble, plain.split, plain.scaling) == before


@pytest.mark.parametrize(
    ("rows", "given", "on"),
    [
        (ENOUGH_ROWS, {}, True),
        (ENOUGH_ROWS - 1, {}, False),
        # Whoever sets the patience wants early stopping.
        (ENOUGH_ROWS - 1, {"patience": 3}, True),
    ],
)
def test_rows_decide_whether_it_is_on_by_default(rows, given, on):
    assert (EarlyStopping.requested(None, rows, **given) is not None) == on
    assert EarlyStopping.requested(True, rows, **given) is not None

"""Early stopping: the rule on made values, what it leaves alone, and what it keeps."""

from __future__ import annotations

import io
import logging
import sys

import anndata
import numpy as np
import pytest
import torch

import cdgm
from cdgm.cli.main import main
from cdgm.estimator import trainable
from cdgm.estimator.early_stopping import EarlyStopping, Patience, Watcher, validation_elbo
from cdgm.estimator.observed import Split
from cdgm.training.loop import train
from tests.unit import small_cells
from tests.unit.builders import fit_spec, observations
from tests.unit.data_helpers import refused

NAN, INF = np.nan, np.inf
#: Few rows of noise, which a decoder of this size learns by heart.
ROWS, FEATURES = 80, 20


def noise() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {source: rng.standard_normal((ROWS, FEATURES)) for source in ("a", "b")}


def overfitting(arrays=None, steps: int = 300, seed: int = 0, n_members: int = 2, **options):
    """A model that overfits."""
    model = cdgm.ComparativeModel.from_arrays(
        noise() if arrays is None else arrays,
        variant="cvae", n_background=3, n_salient=3, held_out=0.2, seed=seed, n_members=n_members,
        model={"encoder_hidden": [32], "decoder_hidden": [64]},
    )  # fmt: skip
    model.train(max_steps=steps, learning_rate=0.02, progress_bar=False, **options)
    return model


STOPPING = {"early_stopping": True, "early_stopping_share": 0.3}


@pytest.fixture(scope="module")
def stopped():
    return overfitting(**STOPPING)


def parameters(stack, member):
    return np.concatenate([p[member].detach().numpy().ravel() for p in stack.parameters()])


# The rule


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "kept", "until"),
    [
        ([1, 2, 3, 4], 2, 0, 4, 0),
        ([1, 3, 2, 2, 9], 2, 0, 2, 4),
        # An improvement just in time starts the count anew.
        ([1, 3, 2, 4, 3, 3, 9], 2, 0, 4, 6),
        ([3, 2, 1], 1, 0, 1, 2),
        # A tie is none, and the first of equal looks is kept.
        ([1, 3, 3, 3, 9], 2, 0, 2, 4),
        # Too small a rise does not count, yet the best look is kept.
        ([1, 1.4, 1.3, 9], 2, 0.5, 2, 3),
        # Small rises add up: 1.6 is more than 0.5 above what last counted.
        ([1, 1.4, 1.6, 1.5, 1.4, 9], 2, 0.5, 3, 5),
        ([1, 1.5, 1.5, 9], 2, 0.5, 2, 3),
        # What is no number is no improvement, and nothing to compare with.
        ([NAN, 1, NAN, NAN, 9], 2, 0, 2, 4),
        ([1, INF, NAN, 9], 2, 0, 1, 3),
        ([NAN, NAN, 9], 2, 0, 0, 2),
        ([-INF, 1, 2], 2, 0, 3, 0),
    ],
)
def test_the_rule(values, patience, min_delta, kept, until):
    """Beside a member that improves all the time, and one that never does: neither matters."""
    one = Patience(3, patience, min_delta)
    for step, value in enumerate(values, 1):
        better = one.look(step, np.array([step, value, -step]), np.ones(3, dtype=bool))
        assert better[1] == (one.kept[1] == step)
    assert (one.kept[1], one.until[1]) == (kept, until)
    assert one.kept.tolist() == [len(values), kept, 1]
    assert one.until.tolist() == [0, until, 1 + patience if len(values) > patience else 0]
    assert one.best[1] == (values[kept - 1] if kept else -INF)


def test_a_member_that_diverged_is_waited_for_no_longer():
    one = Patience(2, 3, 0)
    both, first = np.array([True, True]), np.array([True, False])
    one.look(1, np.array([1.0, 5.0]), both)
    one.look(2, np.array([0.0, NAN]), first)
    assert one.goes_on(first).tolist() == [True, False]
    # Diverged after it was done: it was finite when it stopped.
    for step in (3, 4):
        one.look(step, np.array([0.0, 9.0]), first)
    assert not one.goes_on(first).any()
    assert one.until.tolist() == [4, 0]
    assert one.kept.tolist() == [1, 1]


# The trainer


def watcher(x, seeds, patience=10_000, min_delta=0.0):
    return Watcher(EarlyStopping(patience, min_delta), {s: v[:1] for s, v in x.items()}, seeds)


def test_looking_changes_nothing():
    spec = fit_spec()
    x = observations(spec)
    before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    plain, watch = train(spec, x, [0, 1, 2]), watcher(x, spec.seeds)
    watched = train(spec, x, [0, 1, 2], watch=watch)
    for a, b in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert plain.history.keys() == watched.history.keys()
    for name, values in plain.history.items():
        assert values.tobytes() == watched.history[name].tobytes(), name
    assert plain.model.training == watched.model.training
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    # It did look.
    assert np.isfinite(watch.finish(watched)[0].history["elbo_validation"]).all()


def test_a_watch_is_asked_at_each_record_and_ends_training():
    spec = fit_spec(training={"steps": 50, "log_every": 20})
    x, asked, told = observations(spec), [], []

    def ends_at(last):
        def watch(step, model, alive):
            asked.append((step, parameters(model, 0), alive.tolist()))
            return step == last

        return watch

    whole = train(spec, x, [0, 1, 2], told.append, ends_at(None))
    assert [step for step, *_ in asked] == [20, 40, 50]
    assert asked[0][2] == [True] * 3
    np.testing.assert_array_equal(asked[-1][1], parameters(whole.model, 0))
    assert sum(told) == 50
    told.clear()
    short = train(spec, x, [0, 1, 2], told.append, ends_at(40))
    assert sum(told) == 40
    assert short.history["step"].tolist() == [20, 40]
    np.testing.assert_array_equal(parameters(short.model, 0), asked[1][1])


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
    assert len(set(what.until)) > 1
    assert what.early.any()
    for member, seed in enumerate(seeds):
        alone, single = fitted((seed,))
        for name in ("kept", "until", "early"):
            assert getattr(single, name)[0] == getattr(what, name)[member], name
        assert single.best[0] == pytest.approx(what.best[member], rel=1e-9)
        np.testing.assert_allclose(
            parameters(together.model, member), parameters(alone.model, 0), rtol=1e-9, atol=1e-11
        )
        # Its history, too, ends where it ends alone.
        for name in ("elbo/target", "elbo_validation", "gradient_norm"):
            mine = together.history[name][:, member]
            mine = mine[np.isfinite(mine)]
            np.testing.assert_allclose(mine, alone.history[name][:, 0], rtol=1e-7)


def test_a_member_that_diverges_keeps_its_handling():
    spec = fit_spec(training={"steps": 40, "log_every": 2})
    x = observations(spec)
    for values in x.values():
        values[1] = 1e30
    plain = train(spec, x, [0, 1, 2])
    watch = watcher(observations(spec), spec.seeds, patience=3)
    found, what = watch.finish(train(spec, x, [0, 1, 2], watch=watch))
    assert found.finite.tolist() == plain.finite.tolist() == [True, False, True]
    np.testing.assert_array_equal(parameters(found.model, 1), parameters(plain.model, 1))
    assert what.kept[1] == what.until[1] == 0
    assert np.isnan(found.history["elbo_validation"][:, 1]).all()
    assert "diverged" in str(what)
    assert len(what.sentences(spec.seeds)) == 2
    # Nobody is left to wait for.
    lost = {source: np.full_like(values, 1e30) for source, values in x.items()}
    watch = watcher(observations(spec), spec.seeds, patience=3)
    assert train(spec, lost, [0, 1, 2], watch=watch).history["step"].tolist() == [2]


def test_diverging_after_the_stop_is_nobodys_concern():
    spec = fit_spec(training={"steps": 20, "log_every": 2})
    x = observations(spec)
    watch = watcher(x, spec.seeds, patience=2)
    trained = train(spec, x, [0, 1, 2])
    watch.patience.until[0] = 8
    watch(2, trained.model, np.array([False, False, True]))
    watch._values *= len(trained.history["step"])
    watch.patience.kept[0], watch.patience.best[0] = 6, -1.0
    trained.finite[:] = [False, False, True]
    found, what = watch.finish(trained)
    assert found.finite.tolist() == [True, False, True]
    assert what.early.tolist() == [True, False, False]
    assert what.until.tolist() == [8, 0, 20]
    elbo = found.history["elbo/target"]
    assert np.isnan(elbo).sum(0).tolist() == [6, 0, 0]


def test_a_member_without_a_validation_elbo_counts_as_diverged():
    spec = fit_spec((0,), training={"steps": 20, "log_every": 2})
    x = observations(spec, replicates=1)
    watch = watcher({source: values * 1e30 for source, values in x.items()}, spec.seeds, patience=3)
    found, what = watch.finish(train(spec, x, [0], watch=watch))
    assert found.history["step"][-1] == 6
    assert found.finite.tolist() == [False]
    assert not what.early.any()


# Rows


def test_rows_are_set_aside_and_given_back():
    split = Split(
        {"a": np.arange(0, 200, 2), "b": np.arange(50)}, {"a": np.arange(1, 200, 2), "b": np.array([50])}
    )
    apart = split.set_aside(0.2, seed=0)
    assert {s: len(rows) for s, rows in apart.validation.items()} == {"a": 20, "b": 10}
    for source, rows in split.train.items():
        parts = np.concatenate([apart.train[source], apart.validation[source]])
        np.testing.assert_array_equal(np.sort(parts), rows)
        np.testing.assert_array_equal(apart.positions("all")[source], split.positions("all")[source])
        np.testing.assert_array_equal(apart.set_aside(0, seed=0).train[source], rows)
        np.testing.assert_array_equal(apart.set_aside(0.2, 0).train[source], apart.train[source])
        assert not np.array_equal(apart.set_aside(0.2, 1).train[source], apart.train[source])
    assert not apart.set_aside(0, seed=0).validation
    many = Split({"a": np.arange(100_000)}, {"a": np.arange(2)})
    assert len(many.set_aside(0.1, 0).validation["a"]) == 500
    refused(lambda: split.set_aside(0.1, 0), "early_stopping_share", "0.1", "'b' has 50", "at least 10")
    refused(lambda: split.set_aside(0.95, 0), "0.95", "10 to train on")
    refused(lambda: split.positions("validation"), "split", "'validation'", "['held_out', 'train', 'all']")


def test_validation_rows_are_not_trained_on(stopped):
    """Other values there: other looks, but not one other step of training, nor another scale."""
    arrays = noise()
    for source, rows in stopped.split.validation.items():
        arrays[source][rows] = 50 - 3 * arrays[source][rows]
    patient = STOPPING | {"early_stopping_patience": 1_000}
    one, other = (overfitting(x, steps=60, n_members=1, **patient) for x in (noise(), arrays))
    assert {s: r.tolist() for s, r in one.split.validation.items()} == {
        s: r.tolist() for s, r in stopped.split.validation.items()
    }
    for name, values in one.ensemble.history.items():
        assert np.array_equal(values, other.ensemble.history[name]) == (name != "elbo_validation"), name
    np.testing.assert_array_equal(one.scaling.centre, other.scaling.centre)


def test_held_out_rows_have_no_say(stopped):
    arrays = noise()
    for source, rows in stopped.split.held_out.items():
        arrays[source][rows] = 50 - 3 * arrays[source][rows]
    other = overfitting(arrays, **STOPPING)
    for member in (0, 1):
        np.testing.assert_array_equal(
            parameters(stopped.ensemble.stack, member), parameters(other.ensemble.stack, member)
        )
    assert not np.array_equal(stopped.get_elbo()["elbo"], other.get_elbo()["elbo"])


def test_rows_count_once(stopped):
    splits = [stopped.split.positions(which) for which in ("train", "validation", "held_out")]
    for source in ("a", "b"):
        assert sorted(np.concatenate([part[source] for part in splits])) == list(range(ROWS))
    rows = {
        split: stopped.get_elbo(split)["rows"].iloc[0] for split in ("train", "validation", "held_out", "all")
    }
    assert rows == {"train": 45, "validation": 19, "held_out": 16, "all": 80}


# The whole


@pytest.mark.slow
def test_overfitting_is_stopped_and_held_out_rows_are_explained_better(stopped):
    full = overfitting()
    what, elbo = stopped.ensemble.stopping, stopped.get_elbo().groupby("member")["elbo"].mean()
    assert what.early.all()
    assert (what.until < 300).all()
    assert (what.kept < what.until).all()
    assert (elbo > full.get_elbo().groupby("member")["elbo"].mean() + 1).all()
    # Training anew without it gives the rows back.
    again = overfitting(**STOPPING)
    again.train(max_steps=300, learning_rate=0.02, progress_bar=False)
    np.testing.assert_array_equal(parameters(again.ensemble.stack, 0), parameters(full.ensemble.stack, 0))
    assert again.ensemble.stopping is None
    assert not again.split.validation


def test_members_hold_their_best_parameters(stopped):
    what = stopped.ensemble.stopping
    again = validation_elbo(stopped.ensemble.stack, stopped._stack("validation"), stopped.seeds)
    np.testing.assert_allclose(again, what.best, rtol=1e-6)
    history = stopped.history
    looks = history[history["quantity"] == "elbo_validation"].pivot_table(
        index="step", columns="seed", values="value", dropna=False
    )
    np.testing.assert_allclose(looks.max(), what.best)
    assert looks.idxmax().tolist() == what.kept.tolist() == stopped.ensemble.steps.tolist()
    assert looks.apply(lambda values: values.last_valid_index()).tolist() == what.until.tolist()
    assert what.rule.patience == 4  # a fifth of 300 / 15 looks
    # Without a stop, too, and then up to the last step.
    patient = overfitting(steps=40, early_stopping_patience=100, **STOPPING)
    what = patient.ensemble.stopping
    assert what.until.tolist() == [40, 40]
    assert not what.early.any()
    again = validation_elbo(patient.ensemble.stack, patient._stack("validation"), patient.seeds)
    np.testing.assert_allclose(again, what.best, rtol=1e-6)


def test_it_says_so(stopped, caplog):
    what = stopped.ensemble.stopping
    shown = (
        f"trained until step {what.until[0]}, {what.until[1]}, best at step {what.kept[0]}, {what.kept[1]}"
    )
    assert shown in repr(stopped)
    with caplog.at_level(logging.INFO, logger="cdgm"):
        overfitting(**STOPPING)
    lines = [record.message for record in caplog.records]
    assert lines == what.sentences(stopped.seeds)
    assert f"member 1 (seed 1): out of patience at step {what.until[1]}" in lines[1]
    assert stopped.to_anndata(1).uns["cdgm"]["steps"] == what.kept[1]


def test_a_saved_model_keeps_it(stopped, tmp_path):
    stopped.save(tmp_path / "model")
    again = cdgm.ComparativeModel.load(tmp_path / "model", noise())
    assert repr(again) == repr(stopped)
    for split in ("train", "validation", "held_out"):
        assert again.get_elbo(split).equals(stopped.get_elbo(split))
    assert again.history.equals(stopped.history)
    assert again.ensemble.stopping.plain() == stopped.ensemble.stopping.plain()
    assert again.ensemble.stopping.sentences([0, 1]) == stopped.ensemble.stopping.sentences([0, 1])


@pytest.mark.slow
def test_the_command_line(tmp_path, capsys):
    small_cells.cells().write_h5ad(tmp_path / "cells.h5ad")
    given = ["fit", tmp_path / "cells.h5ad", "--source-key", "condition", "--background", "ctrl"]
    given += ["--members", 2, "--n-background", 2, "--n-salient", 2, "--map", "pca", "--max-steps", 40]
    given += ["--variant", "cvae", "--early-stopping"]

    def command(*more):
        main([*map(str, (*given, *more))])

    def mistake(*more):
        with pytest.raises(SystemExit) as stop:
            command("--out", tmp_path / "bad", *more)
        assert stop.value.code == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert not (tmp_path / "bad").exists()
        return line

    # 80 cells a source leave 72, of which a tenth are 7.
    assert "source 'background' has 72 training rows" in mistake()
    given[given.index("--early-stopping")] = "--patience=3"
    assert "--patience: is about --early-stopping" in mistake()
    given[given.index("--patience=3")] = "--early-stopping"
    small_cells.cells(small_cells.counts(cells=320)).write_h5ad(tmp_path / "cells.h5ad")
    command("--out", tmp_path / "fit", "--patience", 3)
    model = cdgm.ComparativeModel.load(tmp_path / "fit" / "model", anndata.read_h5ad(tmp_path / "cells.h5ad"))
    what = model.ensemble.stopping
    assert what.rule.patience == 3
    page = (tmp_path / "fit" / "report.html").read_text(encoding="utf-8")
    for sentence in what.sentences(model.seeds):
        assert sentence in page
    drawn = (tmp_path / "fit" / "figures" / "training.csv").read_text(encoding="utf-8")
    assert "elbo_validation" in drawn


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"early_stopping": 10}, ["early_stopping: got 10", "True or False"]),
        ({"early_stopping_patience": 5}, ["early_stopping_patience: got 5", "early_stopping=True"]),
        ({"early_stopping": True, "early_stopping_patience": 0}, ["patience: got 0", "at least 1"]),
        ({"early_stopping": True, "early_stopping_patience": 1.5}, ["patience: got 1.5", "whole number"]),
        ({"early_stopping": True, "early_stopping_patience": True}, ["patience: got True"]),
        ({"early_stopping": True, "early_stopping_min_delta": -1}, ["min_delta: got -1", "at least 0"]),
        ({"early_stopping": True, "early_stopping_min_delta": NAN}, ["min_delta: got nan"]),
        ({"early_stopping": True, "early_stopping_share": 1}, ["share: got 1", "between 0 and 1"]),
        ({"early_stopping": True, "early_stopping_share": "a"}, ["share: got 'a'"]),
        # 64 rows are trained on.
        ({"early_stopping": True}, ["share: got 0.1", "source 'a' has 64 training rows", "at least 10"]),
    ],
)
def test_mistakes_are_refused_and_change_nothing(options, parts, stopped):
    before = stopped.fitted, stopped.split, stopped.scaling
    refused(lambda: stopped.train(max_steps=2, **options), "train", *parts)
    assert (stopped.fitted, stopped.split, stopped.scaling) == before


def test_the_bar_ends_full(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    with trainable._bar(300, wanted=True) as advance:
        advance(75)
    last = shown.getvalue().rstrip().split("\r")[-1]
    assert "100%" in last
    assert "75/75" in last

"""A malformed overlay gives one line with file, key and expectation, and nothing is written."""

from pathlib import Path

import pytest
import yaml

from cdgm.claims.check_selectors import check_claims
from cdgm.claims.scope import not_run
from cdgm.config import yaml_file
from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.utils.errors import UserError
from cdgm.workflow.check_arguments import require_readable
from cdgm.workflow.plan import expand
from tests.snakemake_runs import ROOT, copy_checkout, dry_run, snakemake

BASE = ROOT / "config.yaml"
SIMULATION = "protocols: {simulation: {%s}}"
SETTING = "studies: {identifiability: {settings: {linear: {%s}}}}"
DESIGN = "designs: {contrastive: {%s}}"
STUDY = "studies: {identifiability: {%s}}"

MANY = list(range(1, 901))

# What is wrong: overlay, and what the line has to hold beside the overlay's name (key, value, expected).
BAD = {
    "unknown key": ("root_sed: 1", ["root_sed: unknown key", "root_seed"]),
    "unknown key in a plug-in": (
        SETTING % "simulation: {mixing: {kind: linear, layers: 2}}",
        ["mixing.layers: unknown key"],
    ),
    "an exponent without a point": (
        SIMULATION % "training: {learning_rate: 1e-3}",
        ["training.learning_rate: got '1e-3'", "1.0e-3"],
    ),
    "word for a number": (
        SIMULATION % "training: {steps: many}",
        ["training.steps: got 'many'", "integer"],
    ),
    "a billion seeds": (STUDY % "seeds: {count: 1000000000}", ["seeds.count: got 1000000000", "10000"]),
    "a billion steps": (SIMULATION % "training: {steps: 1000000000}", ["training.steps: got 1000000000"]),
    "a billion rows a step": (
        SIMULATION % "training: {batch_size: 1000000000}",
        ["training.batch_size: got 1000000000", "1000000"],
    ),
    "a learning rate that no fit survives": (
        SIMULATION % "training: {learning_rate: 1.0e+300}",
        ["training.learning_rate: got 1e+300", "1000"],
    ),
    "a sweep of a million points": (
        STUDY % f"sweep: {{model.dims.salient: {MANY}, model.dims.background: {MANY}}}",
        ["studies.identifiability: has ", "810,000 points", "at most 10,000"],
    ),
    "a sweep of a long list": (
        STUDY % f"sweep: {{model.dims.salient: {[*MANY, *range(1000, 2000)]}}}",
        ["model.dims.salient: holds 1,900 values", "at most 1,000"],
    ),
    "a variant of a million points": (
        f"variants: {{cvae: {{combiner: {{kind: fixed, ratio: {{background: {MANY}, target: 1}}}}, "
        f"penalties: [{{kind: wasserstein_inactive, weight: {MANY}}}]}}}}",
        ["variants.cvae: sweeps over 810,000 points", "at most 1,000"],
    ),
    "a billion dims": (
        SETTING % "model: {dims: {background: 1000000000}}",
        ["model.dims.background: got 1000000000", "10000"],
    ),
    "a billion draws": (
        SIMULATION % "evaluation: {elbo_draws: 1000000000}",
        ["evaluation.elbo_draws: got 1000000000", "100000"],
    ),
    "a billion importance draws": (
        SIMULATION % "evaluation: {ceiling: {draws: 1000000000}}",
        ["evaluation.ceiling.draws: got 1000000000", "1000000"],
    ),
    "yes for a number": (STUDY % "seeds: {count: yes}", [", line 1: got 'yes'", "true, false"]),
    "base 60 for a number": (STUDY % "seeds: {count: 1:30}", [", line 1: got '1:30'", "decimal"]),
    "an octal number": ("\n\nroot_seed: 010", [", line 3: got '010'", "decimal"]),
    "bars in a number": ("root_seed: 1_000", [", line 1: got '1_000'", "decimal"]),
    "a switch for a number": (SIMULATION % "model: {dims: {background: true}}", ["background: got True"]),
    "a switch for the seed": ("root_seed: true", ["root_seed: got True", "integer"]),
    "text for a number": (STUDY % 'seeds: {count: "10"}', ["seeds.count: got '10'", "integer"]),
    "a set": (STUDY % "variants: !!set {cvae}", [", line 1: got a value of type set"]),
    "a date": ("root_seed: 2024-01-29", [", line 1: got '2024-01-29'"]),
    "a key that is set twice": (
        SIMULATION % "training: {steps: 5},\n  training: {batch_size: 10}",
        [", line 2: the key 'training' is set twice, first in line 1"],
    ),
    "a study that is set twice": ("studies: {a: {}, a: {}}", [", line 1: the key 'a' is set twice"]),
    "a key that is a number": ("studies: {1: {}}", [", line 1: got the key '1'", "quotes"]),
    "a key that is a float": ("1.5: 2", [", line 1: got the key '1.5'", "quotes"]),
    "a doubled variant": (STUDY % "variants: [cvae, cvae]", ["variants: holds 'cvae' twice"]),
    "a doubled figure": (STUDY % "figures: [recovery, recovery]", ["figures: holds 'recovery' twice"]),
    "a doubled value": (STUDY % "sweep: {model.dims.salient: [3, 3]}", ["salient: holds 3 twice"]),
    "a value in two forms": (STUDY % "sweep: {model.dims.salient: [1.0, 1]}", ["holds 1 twice"]),
    "a doubled angle": (
        SETTING % "evaluation: {twist: {block: background, by: salient, angles: [1, 1]}}",
        ["evaluation.twist.angles: holds 1.0 twice"],
    ),
    "a doubled source": (DESIGN % "blocks: {salient: [target, target]}", ["holds 'target' twice"]),
    "nothing to sweep": (STUDY % "sweep: {model.dims.salient: []}", ["model.dims.salient: got []"]),
    "points of one name": (
        "variants: {cvae: {penalties: [{kind: mmd_inactive, weight: [1.0000001, 1.0000002]}]}}",
        ["variants.cvae.penalties", "different"],
    ),
    "a list in a sweep": (
        "variants: {cvae: {penalties: [{kind: mmd_inactive, weight: [[1]]}]}}",
        ["variants.cvae.penalties", "expected a number, got [1]"],
    ),
    "a wrong value in a sweep": (
        STUDY % "sweep: {model.dims.salient: [a]}",
        ["studies.identifiability.sweep.model.dims.salient", "got 'a'", "integer"],
    ),
    "a list in a list": (SETTING % "model: {encoder_hidden: [[64]]}", ["settings.linear", "got [64]"]),
    "a twist by itself": (
        SIMULATION % "model: {twist: {angle: 1, block: background, by: background}}",
        ["turns block 'background' by itself"],
    ),
    "a twist without an angle": (
        SIMULATION % "model: {twist: {angle: 0, block: background, by: salient}}",
        ["twist.angle: is 0"],
    ),
    "a scored twist of one dimension": (
        SETTING % "simulation: {dims: {background: 1}}, "
        "evaluation: {twist: {block: background, by: salient, angles: [1]}}",
        ["evaluation.twist", "of one dimension"],
    ),
    "a scored twist without an angle": (
        SETTING % "evaluation: {twist: {block: background, by: salient, angles: [0, 1]}}",
        ["evaluation.twist.angles: holds 0"],
    ),
    "a twisted mixing of an unknown block": (
        SETTING % "simulation: {mixing: {kind: twisted, base: {kind: linear},"
        " twist: {angle: 1, block: b, by: salient}}}",
        ["simulation: twist of the mixing names block 'b'", "salient"],
    ),
    "a twist on cells": (
        "studies: {perturbation: {settings: {mine: {evaluation: {twist: "
        "{block: background, by: salient, angles: [1]}}}}}}",
        ["evaluation.twist", "cells have no truth"],
    ),
    "a variant for another design": (
        "designs: {contrastive: {sources: [a, b], blocks: {background: [a, b], salient: [b]}}}\n"
        + STUDY % "variants: [fixed-grid]",
        ["variants.0: got 'fixed-grid'", "design 'contrastive'", "the sources are ['a', 'b']"],
    ),
    "traces of fits that are several trainings": (
        "variants: {again: {combiner: {kind: sum}, procedure: {kind: prune, refits: 1}}}\n"
        + STUDY % "variants: [again], figures: [schedule_traces]",
        ["figures.0: got 'schedule_traces'", "variants without a procedure"],
    ),
    "a figure of cells": (STUDY % "figures: [cells]", ["figures.0: got 'cells'", "a study of cells"]),
    "a figure of truths on cells": (
        "studies: {perturbation: {figures: [recovery]}}",
        ["figures.0: got 'recovery'", "a study of simulations"],
    ),
    "a batch larger than the data": (
        SIMULATION % "training: {batch_size: 100000}",
        ["training.batch_size: got 100000", "at most 6000"],
    ),
    "sources that the spike-in does not make": (
        "datasets: {immune_spikein: {sources: [a, b]}}",
        ["datasets.immune_spikein", "['a', 'b']", "['background', 'target']"],
    ),
    "cells of an unknown source": (
        "datasets: {immune_spikein: {cells_per_source: {x: 10}}}",
        ["datasets.immune_spikein: cells_per_source names ['x']"],
    ),
    "no spike-in": ("datasets: {immune_spikein: {spike_in: null}}", ["needs 'spike_in'", "h5ad_log2"]),
    "a kind that is a list": ("variants: {cvae: {combiner: {kind: [sum]}}}", ["unknown combiner ['sum']"]),
    "a misspelt key that is required": (
        "datasets: {mine: {downlod: a}}",
        ["datasets.mine.downlod: unknown key", "download"],
    ),
    "names that pydantic uses": (
        "variants: {float64: {combiner: {kind: sum}, penaltis: []}}",
        ["variants.float64.penaltis: unknown key"],
    ),
    "an empty file": ("", ["got None", "a mapping"]),
    "number for a mapping": ("designs: 3", ["designs: got 3"]),
    "negative dims": (
        SETTING % "simulation: {dims: {background: -5}}",
        ["simulation: dims holds -5", "at least 1"],
    ),
    "dims of another block": (SETTING % "model: {dims: {other: 2}}", ["model", "dims", "other", "salient"]),
    "source without a block": (
        DESIGN % "sources: [background, target, third]",
        ["designs.contrastive", "'third'", "no active block"],
    ),
    "block in an unknown source": (
        DESIGN % "blocks: {salient: [nowhere]}",
        ["designs.contrastive", "'salient'", "unknown sources ['nowhere']"],
    ),
    "unknown variant": (STUDY % "variants: [cave]", ["variants.0: got 'cave'", "cvae"]),
    "unknown penalty": (
        "variants: {cvae: {penalties: [{kind: hsic2}]}}",
        ["variants.cvae.penalties", "unknown penalty 'hsic2'"],
    ),
    "unknown figure": (STUDY % "figures: [recovry]", ["figures.0: got 'recovry'", "recovery"]),
    "no kind": (
        SETTING % "simulation: {mixing: linear}",
        ["simulation.mixing", "kind"],
    ),
    "missing key": (
        "studies: {new: {target: all, protocol: simulation, variants: [cvae],"
        " settings: {a: {}}, figures: [twist]}}",
        ["studies.new.seeds: missing"],
    ),
    "missing key in a plug-in": (
        SETTING % "simulation: {mixing: {kind: leaky_relu}}",
        ["simulation.mixing.layers: missing"],
    ),
    "width below the latents": (
        SETTING % "simulation: {mixing: {kind: leaky_relu, layers: 2, slope: 0.2, width: 3}}",
        ["simulation", "width is 3", "8 latents"],
    ),
    "learning rate that is no number": (
        SETTING % "training: {learning_rate: .nan}",
        ["learning_rate: got nan", "finite"],
    ),
    "files that jobs do not divide": (
        STUDY % "seeds: {per_job: 4}",
        ["studies.identifiability.seeds", "per_file is 10", "multiple of per_job (4)"],
    ),
    "no settings": (
        "studies: {new: {target: all, protocol: simulation,"
        " seeds: {first: 1, count: 1, per_job: 1, per_file: 1},"
        " variants: [cvae], settings: {}, figures: [twist]}}",
        ["studies.new.settings: got {}"],
    ),
    "path in a name": ("variants: {../x: {combiner: {kind: sum}}}", ["variants", "'../x'", "match pattern"]),
    "simulation and data set": (
        SETTING % "dataset: immune_spikein",
        ["exactly one of 'simulation' and 'dataset'"],
    ),
    "twisted posterior without a twist": (SETTING % "model: {posterior: twisted}", ["no twist"]),
    "scoring of an unknown block": (
        SETTING % "evaluation: {twist: {block: backgruond, by: salient, angles: [1]}}",
        ["evaluation", "'backgruond'", "salient"],
    ),
    "no mapping": ("- a\n- b\n", ["mapping of config keys"]),
    "broken YAML": ("studies: {a: [1, 2\nroot_seed: 3\n", ["line ", "not valid YAML"]),
}
# Through snakemake itself: mistakes in a file, in the config, and in a merged setting.
BOOTED = ("unknown figure", "unknown key in a plug-in", "broken YAML", "an empty file", "an octal number")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The project's config with two of its studies: it is read once for each mistake."""
    values = yaml.safe_load(BASE.read_text(encoding="utf-8"))
    values["studies"] = {name: values["studies"][name] for name in ("identifiability", "perturbation")}
    values.pop("claims", None)
    file = tmp_path_factory.mktemp("base") / "config.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


@pytest.mark.parametrize("what", BAD)
def test_a_bad_overlay_is_told_in_one_line(what: str, base: Path, tmp_path: Path):
    text, parts = BAD[what]
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(text, encoding="utf-8")
    files = [base, overlay]
    with pytest.raises(UserError) as caught:
        expand(parse_config(load_layers(files), files), files)
    message = str(caught.value)
    assert message.startswith(str(overlay)), message
    assert len(message.splitlines()) == 1, message
    for part in parts:
        assert part in message.removeprefix(str(overlay)), message


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("bad") / "checkout")


@pytest.mark.parametrize("what", BOOTED)
def test_snakemake_stops_at_a_bad_overlay(what: str, checkout: Path, tmp_path: Path):
    text, parts = BAD[what]
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(text, encoding="utf-8")
    done = dry_run(checkout, tmp_path, overlay=overlay)
    assert done.code != 0
    assert len(done.errors) == 1, done.err
    assert done.errors[0].startswith(f"error: {overlay}")
    assert all(part in done.errors[0] for part in parts)
    assert "Traceback" not in done.err + done.out
    assert not (tmp_path / "results").exists()


UNREADABLE = {
    "missing": (lambda _: None, "cannot be read: No such file or directory"),
    "a folder": (lambda file: file.mkdir(), "cannot be read: not a file"),
    "latin-1": (lambda file: file.write_bytes(b"a: 1\nb: caf\xe9"), "line 2: not valid YAML: 'utf-8'"),
    "NUL": (lambda file: file.write_bytes(b"a: \0"), "not valid YAML"),
    "objects": (
        lambda file: file.write_text("a: !!python/object/apply:os.system [ls]"),
        "line 1: got a value",
    ),
    "a list on top": (lambda file: file.write_text("- a"), "got ['a'], expected a mapping"),
    "too large": (lambda file: file.write_text("#" * 20_000_001), "20,000,001 bytes, expected at most"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_told_before_snakemake_reads_it(what: str, tmp_path: Path):
    make, part = UNREADABLE[what]
    make(tmp_path / "overlay.yaml")
    for words in (["--configfile"], ["-n", "--configfiles", str(BASE)], ["all", "--configfile"]):
        with pytest.raises(UserError) as caught:
            require_readable([*words, str(tmp_path / "overlay.yaml"), "--cores", "1"])
        assert str(caught.value).startswith(str(tmp_path / "overlay.yaml"))
        assert part in str(caught.value)
    # The real command, for those that end in a traceback without the check.
    if what in ("missing", "a folder", "latin-1", "objects"):
        done = dry_run(ROOT, tmp_path / "run", overlay=tmp_path / "overlay.yaml")
        assert done.code == 2
        assert [part in line for line in done.errors] == [True]
        assert len([line for line in done.err.splitlines() if "Using" not in line]) == 1, done.err
        assert not (tmp_path / "run" / "results").exists()


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("root_seed", ["--config: got 'root_seed'", "KEY=VALUE"]),
        ("root_seed=-1", ["--config: root_seed: got -1"]),
    ],
)
def test_values_of_the_command_line_are_told_as_such(value: str, parts: list[str], tmp_path: Path):
    done = snakemake(ROOT, tmp_path, "--dry-run", "--quiet", "all", "--config", value, overlay=None)
    assert done.code == 2
    assert len(done.errors) == 1, done.err
    assert all(part in done.errors[0] for part in parts)
    assert "Traceback" not in done.err + done.out


def test_a_setting_may_be_named_kind(base: Path, tmp_path: Path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(
        STUDY % "settings: {kind: {}}" + "\nvariants: {kind: {combiner: {kind: sum}}}", encoding="utf-8"
    )
    before, after = load_layers([base]), load_layers([base, overlay])
    assert {*before["variants"], "kind"} == {*after["variants"]}
    settings = [values["studies"]["identifiability"]["settings"] for values in (before, after)]
    assert {*settings[0], "kind"} == {*settings[1]}
    expand(parse_config(after, [base, overlay]), [base, overlay])


def test_claims_on_a_figure_that_an_overlay_leaves_out_are_not_run(tmp_path: Path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(STUDY % "figures: [training]", encoding="utf-8")
    files = [BASE, ROOT / "claims.yaml", overlay]
    config = parse_config(load_layers(files), files)
    check_claims(config, files)
    assert not_run(config, "all")["recovery"] == (
        "Study identifiability has no figure 'recovery' in this configuration."
    )
    # One that is stated in the same layer is a mistake.
    stated = load_layers([ROOT / "claims.yaml"])["claims"]["recovery"] | {"figure": "cells"}
    overlay.write_text(yaml.safe_dump({"claims": {"recovery": stated}}), encoding="utf-8")
    with pytest.raises(UserError, match=r"claims\.recovery\.figure: got 'cells', expected one of"):
        check_claims(parse_config(load_layers(files), files), files)


def test_a_large_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parsed = []
    real = yaml_file._nested
    monkeypatch.setattr(yaml_file, "_nested", lambda text: (parsed.append(len(text)), real(text))[1])
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("claims:\n" + "".join(f"  c{i}: null\n" for i in range(2_000)), encoding="utf-8")
    files = [BASE, ROOT / "claims.yaml", overlay]
    config = parse_config(load_layers(files), files)
    expand(config, files)
    check_claims(config, files)
    size = overlay.stat().st_size
    assert parsed.count(size) == 1
    # A change is seen.
    overlay.write_text("root_seed: 7", encoding="utf-8")
    assert load_layers(files)["root_seed"] == 7


def test_snakemake_stops_at_a_file_of_this_machine_that_is_not_there(checkout: Path, tmp_path: Path):
    overlay = tmp_path / "overlay.yaml"
    missing = tmp_path / "cells of mine.h5ad"
    overlay.write_text(
        f"downloads: {{papalexi2021: {{kind: local, path: '{missing}', filename: mine.rda}}}}",
        encoding="utf-8",
    )
    done = snakemake(checkout, tmp_path, "perturbseq", "--cores", "1", overlay=overlay)
    assert done.code == 2
    assert done.errors == [
        f"error: {overlay}: downloads.papalexi2021.path: got '{missing}', expected an existing file"
    ]
    assert "Traceback" not in done.err + done.out
    assert not (tmp_path / "results").exists()
    # Nothing is locked.
    assert list((tmp_path / ".snakemake/locks").iterdir()) == []


def test_a_broken_base_file_is_told_with_its_line(tmp_path: Path):
    broken = copy_checkout(tmp_path / "checkout")
    (broken / "config.yaml").write_text("root_seed: 1\nstudies: [", encoding="utf-8")
    done = dry_run(broken, tmp_path / "run", overlay=None)
    assert done.code == 2
    assert len(done.errors) == 1, done.err
    assert done.errors[0].startswith(f"error: {broken / 'config.yaml'}, line ")
    assert "Traceback" not in done.err + done.out


def test_snakemake_stops_at_a_folder_in_place_of_a_file(checkout: Path, tmp_path: Path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(
        f"downloads: {{papalexi2021: {{kind: local, path: '{tmp_path}', filename: mine.rda}}}}",
        encoding="utf-8",
    )
    done = dry_run(checkout, tmp_path, "perturbseq", "--cores", "1", overlay=overlay)
    assert done.errors == [
        f"error: {overlay}: downloads.papalexi2021.path: got '{tmp_path}', expected an existing file"
    ]


def test_a_mistake_in_the_base_file_names_the_base_file(tmp_path: Path):
    base, overlay = tmp_path / "base.yaml", tmp_path / "overlay.yaml"
    base.write_text(
        BASE.read_text(encoding="utf-8").replace("batch_size: 64", "batch_size: 1"), encoding="utf-8"
    )
    overlay.write_text(SIMULATION % "training: {steps: 9}", encoding="utf-8")
    files = [base, overlay]
    with pytest.raises(UserError, match="batch_size: got 1") as caught:
        expand(parse_config(load_layers(files), files), files)
    assert str(caught.value).startswith(str(base))


def test_a_missing_overlay_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="missing\\.yaml: cannot be read: No such file"):
        load_layers([BASE, tmp_path / "missing.yaml"])


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("results/fits/linear-cvae-x/model.npz", "got 'linear-cvae-x', expected an id of results/plan.csv"),
        ("results/data/immune/cells.npz", "got 'immune', expected a data set: one of ['dosed_clean'"),
        ("results/figures/identifiability/dims.png", "got 'dims', expected a figure of the study: one of"),
        ("results/figures/identifiabilty/twist.png", "got 'identifiabilty', expected a study: one of"),
    ],
)
def test_a_target_that_there_is_not_is_one_line(target, part, checkout, tmp_path):
    done = dry_run(checkout, tmp_path, target)
    assert done.code == 2
    assert part in done.errors[0]
    assert "Traceback" not in done.err

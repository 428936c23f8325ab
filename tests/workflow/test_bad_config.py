"""A malformed overlay gives one line with file, key and expectation, and nothing is written."""

from pathlib import Path

import pytest
import yaml

from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.utils.errors import UserError
from cdgm.workflow.plan import expand
from tests.snakemake_runs import ROOT, copy_checkout, dry_run, snakemake

BASE = ROOT / "config.yaml"
SIMULATION = "protocols: {simulation: {%s}}"
SETTING = "studies: {identifiability: {settings: {linear: {%s}}}}"
DESIGN = "designs: {contrastive: {%s}}"
STUDY = "studies: {identifiability: {%s}}"

# What is wrong: overlay, and what the line has to hold beside the overlay's name (key, value, expected).
BAD = {
    "unknown key": ("root_sed: 1", ["root_sed: unknown key", "root_seed"]),
    "unknown key in a plug-in": (
        SETTING % "simulation: {mixing: {kind: linear, layers: 2}}",
        ["mixing.layers: unknown key"],
    ),
    "word for a number": (
        SIMULATION % "training: {steps: many}",
        ["training.steps: got 'many'", "integer"],
    ),
    "yes for a number": (STUDY % "seeds: {count: yes}", ["seeds.count: got True", "integer"]),
    "a billion seeds": (STUDY % "seeds: {count: 1000000000}", ["seeds.count: got 1000000000", "10000"]),
    "a billion steps": (SIMULATION % "training: {steps: 1000000000}", ["training.steps: got 1000000000"]),
    "a billion rows a step": (
        SIMULATION % "training: {batch_size: 1000000000}",
        ["training.batch_size: got 1000000000", "1000000"],
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
# Through snakemake itself: a mistake in the config, and one in a merged setting.
BOOTED = ("unknown figure", "unknown key in a plug-in")


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
        expand(parse_config(load_layers(files, {}), files), files)
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


def test_a_mistake_in_the_base_file_names_the_base_file(tmp_path: Path):
    base, overlay = tmp_path / "base.yaml", tmp_path / "overlay.yaml"
    base.write_text(
        BASE.read_text(encoding="utf-8").replace("batch_size: 64", "batch_size: 1"), encoding="utf-8"
    )
    overlay.write_text(SIMULATION % "training: {steps: 9}", encoding="utf-8")
    files = [base, overlay]
    with pytest.raises(UserError, match="batch_size: got 1") as caught:
        expand(parse_config(load_layers(files, {}), files), files)
    assert str(caught.value).startswith(str(base))


def test_a_missing_overlay_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="missing\\.yaml: cannot be read: No such file"):
        load_layers([BASE, tmp_path / "missing.yaml"], {})

"""The type of the whole config; each mistake becomes an error of one line.

``config.yaml`` holds the science, complete. These types give a default only where absent means "off".
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from cdgm.config.claim import Claim, VerdictRules
from cdgm.config.claim_rules import with_rules
from cdgm.config.dataset import DatasetSpec, Download
from cdgm.config.design import Design
from cdgm.config.evaluation import EvaluationSpec
from cdgm.config.fit import VariantSpec
from cdgm.config.layers import Layer, file_with
from cdgm.config.regret import RegretSpec
from cdgm.config.training import TrainingSpec
from cdgm.config.validation import validated
from cdgm.utils.errors import bad_input
from cdgm.utils.registry import Strict, distinct, registry_at

#: Stacks of one study: Snakemake plans a job or two for each.
MOST_STACKS = 10_000

# Names end up in paths and in figure labels.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_+-]*$", max_length=60)]


class Template(Strict):
    """Everything about a fit but its seeds and variant; studies override parts of one.

    Attributes
    ----------
    design
        Name of a design.
    simulation, dataset
        Exactly one: a simulated setting (:class:`cdgm.config.simulation.Simulation` without its
        design), or the name of a data set of cells.
    model
        :class:`cdgm.config.model.ModelSpec` without its design.
    training, evaluation
        See the types.
    """

    design: Name
    simulation: dict[str, Any] | None = None
    dataset: Name | None = None
    model: dict[str, Any]
    training: TrainingSpec
    evaluation: EvaluationSpec

    @model_validator(mode="after")
    def _check(self) -> Template:
        if (self.simulation is None) == (self.dataset is None):
            raise ValueError("needs exactly one of 'simulation' and 'dataset'")
        return self


class Seeds(Strict):
    """Seeds of a study.

    Attributes
    ----------
    first, count
        The seeds are first, first + 1, ..., first + count - 1.
    per_job
        Members of a replicate stack: seeds fitted in one job.
    per_file
        Replicates of a simulated setting in one file; more seeds add files and leave these as they are.
    """

    first: int = Field(ge=0, le=1_000_000_000)
    count: int = Field(ge=1, le=10_000)
    per_job: int = Field(ge=1, le=10_000)
    per_file: int = Field(ge=1, le=10_000)

    @model_validator(mode="after")
    def _check(self) -> Seeds:
        if self.per_file % self.per_job:
            raise ValueError(f"per_file is {self.per_file}, expected a multiple of per_job ({self.per_job})")
        return self


class Study(Strict):
    """One experiment: its fits, how they are scored, and the figures drawn from them.

    Attributes
    ----------
    target
        Workflow target that builds it; ``none`` leaves it out of all of them.
    protocol
        Name of the template that its settings start from.
    seeds
        See :class:`Seeds`.
    variants
        Names of variants; each setting is fitted with each.
    settings
        Name of a setting to its overrides of the template. A mapping is merged key by key; a value
        with a ``kind``, a list or a number replaces what stood there.
    sweep
        Dotted key to values: every setting is repeated for every combination.
    learning_rates
        Peak learning rates of variants that are fitted at one of their own.
    regret
        Single-source fits that regrets are measured against; absent means no regrets.
    figures
        Figures (names in ``cdgm/figures``) drawn from its tables.
    """

    target: Literal["all", "perturbseq", "atlas", "scaling", "beyond", "none"]
    protocol: Name
    seeds: Seeds
    variants: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(distinct)]
    settings: dict[Name, dict[str, Any]] = Field(min_length=1)
    sweep: dict[str, Annotated[tuple[Any, ...], Field(min_length=1), AfterValidator(distinct)]] = Field({})
    learning_rates: dict[Name, Annotated[float, Field(gt=0, le=1_000)]] = Field({})
    regret: RegretSpec | None = None
    figures: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(distinct)]

    @model_validator(mode="after")
    def _check(self) -> Study:
        swept = math.prod(map(len, self.sweep.values()))
        jobs = math.ceil(self.seeds.count / self.seeds.per_job)
        stacks = len(self.settings) * swept * len(self.variants) * jobs
        if stacks > MOST_STACKS:
            raise ValueError(
                f"has {stacks:,} stacks ({len(self.settings)} settings x {swept:,} points of the sweep x "
                f"{len(self.variants)} variants x {jobs:,} jobs of seeds), expected at most {MOST_STACKS:,}"
            )
        return self


class Config(Strict):
    """The whole config."""

    root_seed: int = Field(ge=0)
    designs: dict[Name, Design]
    variants: dict[Name, VariantSpec]
    downloads: dict[Name, Download]
    datasets: dict[Name, DatasetSpec]
    protocols: dict[Name, dict[str, Any]]
    studies: dict[Name, Study] = Field(min_length=1)
    verdicts: VerdictRules = VerdictRules()
    # Lists of conditions with holes, which claims name.
    rules: dict[Name, tuple[dict[str, Any], ...]] = Field({})
    # None takes a claim of a lower layer away.
    claims: dict[Name, Claim | None] = Field({})


def parse_config(values: Mapping[str, Any], files: Sequence[Layer] = ("config.yaml",)) -> Config:
    """Validate a config merged from ``files``, later ones over earlier ones.

    Raises
    ------
    UserError
        For the first mistake: one line with file, key, value and what was expected.
    """

    def where(path: Sequence[Any]) -> str:
        return file_with(path, files)

    config = validated(Config, with_rules(values, where), where)
    for path, name, known in _references(config):
        if name not in known:
            raise bad_input(where(path), ".".join(map(str, path)), name, f"one of {sorted(known)}")
    return config


def _references(config: Config) -> Iterator[tuple[tuple[Any, ...], str, Collection[str]]]:
    """Yield every name that refers to another part of the config: path, name, and the known names."""
    for name, dataset in config.datasets.items():
        for download in dataset.files:
            yield ("datasets", name, "download"), download, config.downloads
    figures = registry_at("cdgm.figures:FIGURES")
    for name, study in config.studies.items():
        yield ("studies", name, "protocol"), study.protocol, config.protocols
        for i, variant in enumerate(study.variants):
            yield ("studies", name, "variants", i), variant, config.variants
        for variant in study.learning_rates:
            yield ("studies", name, "learning_rates"), variant, study.variants
        if study.regret is not None:
            yield ("studies", name, "regret", "reference"), study.regret.reference, study.variants
            for i, variant in enumerate(study.regret.front):
                yield ("studies", name, "regret", "front", i), variant, study.variants
        for i, figure in enumerate(study.figures):
            yield ("studies", name, "figures", i), figure, figures
    for name, claim in config.claims.items():
        if claim is None:
            continue
        yield ("claims", name, "study"), claim.study, config.studies
        # Whether the study draws it is checked with the claim's layers: one on top may leave figures out.
        yield ("claims", name, "figure"), claim.figure, figures

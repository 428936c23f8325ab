"""Refuse claims whose selectors match no score, or several, before the workflow starts. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cdgm.claims.expected_scores import COLUMNS, Score, matching, scores_of
from cdgm.config.claim import AnyOf, Claim, Condition, Selector
from cdgm.config.layers import Layer, layer_name, load_layers, read_layer
from cdgm.config.study import Config, parse_config
from cdgm.utils.errors import UserError, bad_input


def check_claims(config: Config, files: Sequence[Layer]) -> None:
    """Refuse claims whose selectors match no score, or more than one, and those that compare one with itself.

    A claim is checked against the layers up to the last one that states it or its rule: a layer on top may
    leave out what the claim is about, and the claim is then not run.

    Raises
    ------
    UserError
        Naming file, key, value and what was expected.
    """
    stated = [_stated_in(file) for file in files]
    layers: dict[int, dict[str, Claim]] = {}
    for name, claim in config.claims.items():
        if claim is not None:
            at = [i for i, (claims, rules) in enumerate(stated) if name in claims or claim.rule in rules]
            layers.setdefault(max(at, default=len(files) - 1), {})[name] = claim
    for at, claims in layers.items():
        below = files[: at + 1]
        config_below = config if len(below) == len(files) else parse_config(load_layers(below), below)
        named = {claim.study for claim in claims.values()}
        scores = {study: scores_of(config_below, config_below.studies[study]) for study in named}
        for name, claim in claims.items():
            drawn = config_below.studies[claim.study].figures
            if claim.figure not in drawn:
                raise bad_input(
                    layer_name(files[at]), f"claims.{name}.figure", claim.figure, f"one of {list(drawn)}"
                )
            first = None
            for path, selector, over_fits in _selectors(claim, config_below):
                key = ".".join(["claims", name, *map(str, path)])
                if path[-1] == "of":
                    first = selector
                elif selector == first:
                    expected = "another score than that of 'of', in one column at least"
                    raise bad_input(layer_name(files[at]), key, str(selector), expected)
                _check(selector, over_fits, scores[claim.study], layer_name(files[at]), key, claim.study)


def _stated_in(file: Layer) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Names of the claims and rules that a config file states or changes."""
    layer = read_layer(file)
    layer = layer if isinstance(layer, Mapping) else {}
    return layer.get("claims") or {}, layer.get("rules") or {}


def _check(
    selector: Selector, over_fits: bool, scores: Sequence[Score], file: str, key: str, study: str
) -> None:
    kept, missing = matching(selector, scores)
    if missing:
        there = sorted({getattr(score, missing) for score in kept})
        before = [c for c in COLUMNS[: COLUMNS.index(missing)] if c in selector.given]
        given = f" with {', '.join(f'{c}={selector.given[c]}' for c in before)}" if before else ""
        shown = f"{there[:12]}{' and more' if len(there) > 12 else ''}"
        expected = f"one of {shown}, as study {study!r} has them{given}"
        raise bad_input(file, f"{key}.{missing}", selector.given[missing], expected)
    kept = [score for score in kept if score.certain]
    if len(kept) > 1 and not over_fits:
        values = {c: sorted({getattr(score, c) for score in kept})[:6] for c in COLUMNS}
        differ = {c: found for c, found in values.items() if len(found) > 1}
        raise UserError(
            f"{file}: {key}: {{{selector}}} picks {len(kept)} scores of a seed, expected one;"
            f" they differ in {differ}"
        )


def _selectors(claim: Claim, config: Config) -> Iterator[tuple[tuple[str | int, ...], Selector, bool]]:
    """Every selector of a claim, for every alternative, the key that it stands under, and ``over_fits``.

    Preconditions come first, then a claim's own conditions; those of its rule follow, once for each filling
    of its holes.
    """
    for i, condition in enumerate(claim.needs):
        yield from _of_condition(condition, ("needs", i))
    n_rule = len(config.rules[claim.rule]) if claim.rule is not None else 0
    fillings = len(claim.with_) if isinstance(claim.with_, tuple) else 1
    own = len(claim.conditions) - n_rule * fillings
    for i, clause in enumerate(claim.conditions):
        in_rule = ("rule", claim.rule or "", (i - own) % max(n_rule, 1))
        start: tuple[str | int, ...] = ("conditions", i) if i < own else in_rule
        for _, conditions in clause.alternatives():
            for j, condition in enumerate(conditions):
                path = (*start, "conditions", j) if isinstance(clause, AnyOf) else start
                yield from _of_condition(condition, path)


def _of_condition(
    condition: Condition, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Selector, bool]]:
    for key in ("of", "minus", "over"):
        if (selector := getattr(condition, key)) is not None:
            yield (*path, key), selector, condition.over_fits

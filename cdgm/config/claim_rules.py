"""Rules with holes: conditions that are written once and used by several claims.

A rule is a list of conditions in which ``$name`` stands for a value. A claim names the rule and fills the
holes; this module writes the filled conditions into the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from string import Template
from typing import Any

from cdgm.config.claim import AnyOf, Condition, completed
from cdgm.config.validation import validated
from cdgm.utils.errors import UserError, bad_input

Where = Callable[[Sequence[Any]], str]


def with_rules(values: Mapping[str, Any], where: Where) -> dict[str, Any]:
    """The values of a config in which every claim has the conditions of its rule.

    A claim's own conditions come first, so that they keep their place in the file. Values of the wrong type
    are left for the config's types to refuse.

    Parameters
    ----------
    values
        A merged config.
    where
        Maps the path of a key to the file that sets it.

    Raises
    ------
    UserError
        If a rule does not exist, a hole is left open, a value has no hole, or a filled condition is not
        valid. Names the file and the key: that of the claim or that of the rule.
    """
    claims, rules = values.get("claims"), values.get("rules") or {}
    if not isinstance(claims, Mapping) or not isinstance(rules, Mapping):
        return dict(values)
    written = {
        name: _written(name, claim, rules, where)
        if isinstance(claim, Mapping) and not (claim.get("rule") is None and claim.get("with") is None)
        else claim
        for name, claim in claims.items()
    }
    return {**values, "claims": written}


def _written(name: str, claim: Mapping[str, Any], rules: Mapping[str, Any], where: Where) -> dict[str, Any]:
    key = ("claims", name, "rule")
    rule = claim.get("rule")
    if not isinstance(rule, str) or rule not in rules:
        raise bad_input(where(key), ".".join(key), rule, f"one of {sorted(rules)}")
    own = claim.get("conditions") or []
    if not isinstance(own, Sequence) or not isinstance(rules[rule], Sequence):
        return dict(claim)
    shared = claim["at"] if isinstance(claim.get("at"), Mapping) else {}
    added = []
    for filling in _fillings(name, rule, claim, rules, where):
        for i, clause in enumerate(filled(rules[rule], filling)):
            _check(clause, shared, where, ("rules", rule, i), name)
            added.append(clause)
    return {**claim, "conditions": [*own, *added]}


def _fillings(
    name: str, rule: str, claim: Mapping[str, Any], rules: Mapping[str, Any], where: Where
) -> list[Mapping[str, Any]]:
    """The values for the holes, one mapping for each time that the rule is used."""
    key = ("claims", name, "with")
    given = claim.get("with") or {}
    fillings = [given] if isinstance(given, Mapping) else given
    expected = "a mapping of holes to values, or a list of such mappings"
    if not isinstance(fillings, list) or not all(isinstance(filling, Mapping) for filling in fillings):
        raise bad_input(where(key), ".".join(key), given, expected)
    try:
        holes = sorted(set(_holes(rules[rule])))
    except ValueError as error:
        path = ("rules", rule)
        raise bad_input(where(path), ".".join(path), str(error), "$name, or $$ for the sign itself") from None
    for filling in fillings:
        if sorted(filling, key=str) != holes:
            wanted = f"a value for each of {holes}, the holes of rule {rule!r}, and no other"
            raise bad_input(where(key), ".".join(key), sorted(filling, key=str), wanted)
    return fillings


def _holes(node: Any) -> Iterator[str]:
    """Names of the holes in a rule."""
    if isinstance(node, str):
        if not Template(node).is_valid():
            raise ValueError(node)
        yield from Template(node).get_identifiers()
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _holes(value)
    elif isinstance(node, Sequence):
        for value in node:
            yield from _holes(value)


def filled(node: Any, filling: Mapping[str, Any]) -> Any:
    """A rule, or a part of one, with its holes filled.

    A text that is a hole and nothing else becomes the value itself, of whatever type; inside a longer text
    the value is written out.
    """
    if isinstance(node, str):
        alone = node.removeprefix("$")
        return filling[alone] if alone != node and alone in filling else Template(node).substitute(filling)
    if isinstance(node, Mapping):
        return {key: filled(value, filling) for key, value in node.items()}
    if isinstance(node, Sequence):
        return [filled(value, filling) for value in node]
    return node


def _check(clause: Any, shared: Mapping[str, Any], where: Where, path: tuple[Any, ...], claim: str) -> None:
    """Refuse a filled condition that is not valid, by its place in the rule."""
    if isinstance(clause, Mapping):
        try:
            validated(AnyOf if "any_of" in clause else Condition, completed(clause, shared), where, path)
        except UserError as error:
            raise UserError(f"{error} (rule {path[1]!r} as claim {claim!r} uses it)") from None

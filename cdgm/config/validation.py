"""Validate config and specs by pydantic; errors are one line and name file, key and value."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, PlainValidator, ValidationError

from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.registry import Registry

#: Numbers as YAML 1.2 knows them, which YAML 1.1 reads as text.
EXPONENT = r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"


def validated(
    build: type[BaseModel] | Callable[[Any], Any],
    values: Any,
    where: str | Callable[[Sequence[Any]], str],
    prefix: tuple[Any, ...] = (),
) -> Any:
    """Build a typed spec from raw values; the first mistake becomes a one-line :class:`UserError`.

    Parameters
    ----------
    build
        A type, or a function such as a registry's ``parse``.
    values
        Raw values.
    where
        Place named in the error (a file, an option), or a function from a key's path to it.
    prefix
        Path of ``values`` inside that place.
    """
    try:
        return build.model_validate(values) if isinstance(build, type) else build(values)
    except ValidationError as error:
        loc, first = _first_mistake(_telling(error), values)
        path = (*prefix, *loc)
    except ValueError as error:
        place = where(prefix) if callable(where) else where
        key = ".".join(map(str, prefix))
        raise UserError(f"{place}: {key + ': ' if key else ''}{error}") from None
    place = where(path) if callable(where) else where
    key = ".".join(map(str, path))
    message = first["msg"].removeprefix("Value error, ")
    match first["type"]:
        case "extra_forbidden":
            known = ", ".join(sorted(_fields_at(build, loc[:-1], values)))
            hint = f", expected one of: {known}" if known else ""
            raise UserError(f"{place}: {key}: unknown key{hint}") from None
        case "missing":
            # No file holds the key itself; what lacks it stands in one.
            place = where(path[:-1]) if callable(where) else where
            raise UserError(f"{place}: {key}: missing, expected a value") from None
        case "value_error":
            raise UserError(f"{place}: {key + ': ' if key else ''}{message}") from None
        case "string_pattern_mismatch" if loc and loc[-1] == "[key]":
            raise bad_input(place, key.removesuffix(".[key]"), loc[-2], _lower(message)) from None
        case _:
            expected = _lower(message)
            if isinstance(first["input"], str) and re.fullmatch(EXPONENT, first["input"]):
                expected += ", in YAML with a point and a sign: 1.0e-3"
            raise bad_input(place, key, first["input"], expected) from None


def _telling(error: ValidationError) -> Any:
    """Pydantic's record of the first mistake; of a missing key, that of an unknown key in its place."""
    errors = error.errors(include_url=False)
    first = errors[0]
    if first["type"] == "missing":
        for other in errors:
            if other["type"] == "extra_forbidden" and other["loc"][:-1] == first["loc"][:-1]:
                return other
    return first


def _first_mistake(first: Any, values: Any) -> tuple[tuple[Any, ...], Any]:
    """Path of a mistake in ``values``, and pydantic's record of it.

    Pydantic's path also names branches of unions and validator functions. A part is a key of the user's if
    it leads on from where the path has come to; a key that is missing leads nowhere and comes last.
    """
    path: list[Any] = []
    node = values
    for i, part in enumerate(first["loc"]):
        last = i + 1 == len(first["loc"])
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        elif isinstance(node, Sequence) and not isinstance(node, str) and isinstance(part, int):
            node = node[part] if part < len(node) else None
        elif not (last and (first["type"] == "missing" or part == "[key]")):
            continue
        path.append(part)
    return tuple(path), first


def _fields_at(build: Any, loc: Sequence[Any], values: Any) -> list[str]:
    """Field names of the type that a path leads to; a plug-in's type follows from the ``kind`` there."""
    annotation: Any = build
    for part in loc:
        fields = getattr(_model_of(annotation, values), "model_fields", {})
        if part in fields:
            field = fields[part]
            annotation = (
                Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
            )
        values = values[part]
    fields = getattr(_model_of(annotation, values), "model_fields", {})
    return [field.alias or name for name, field in fields.items()]


def _model_of(annotation: Any, values: Any) -> type[BaseModel] | None:
    """The type behind an annotation, found inside containers and unions too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    registry = getattr(annotation, "__self__", None)
    if isinstance(registry, Registry) and isinstance(values, Mapping) and values.get("kind") in registry:
        return registry.load(values["kind"])
    if isinstance(annotation, PlainValidator):
        return _model_of(annotation.func, values)
    inside = (*typing.get_args(annotation), *getattr(annotation, "__metadata__", ()))
    found = [model for model in (_model_of(inner, values) for inner in inside) if model is not None]
    keys = set(values) if isinstance(values, Mapping) else set()
    # Of a union, the type with most of the keys.
    return max(found, key=lambda model: len(keys & set(model.model_fields)), default=None)


def _lower(message: str) -> str:
    """What was expected, as the end of a sentence: "Input should be a valid integer" is cut to its end."""
    message = message.removeprefix("Input should ").removeprefix("be ")
    message = re.sub(r"^a valid (tuple|list)", "a list", message)
    message = re.sub(r"^a valid dictionary( or instance of \w+)?", "a mapping", message)
    return message[:1].lower() + message[1:]

"""Validation of config and specs by pydantic, with errors of one line that name file, key and value."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from cdgm.errors import UserError, bad_input
from cdgm.plugins import Strict


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
        loc, first, model = _first_mistake(error)
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
            known = ", ".join(sorted(_fields_at(model, loc[:-1])))
            raise UserError(
                f"{place}: {key}: unknown key" + (f", expected one of: {known}" if known else "")
            ) from None
        case "missing":
            # No file holds the key itself; what lacks it stands in one.
            place = where(path[:-1]) if callable(where) else where
            raise UserError(f"{place}: {key}: missing, expected a value") from None
        case "value_error":
            raise UserError(f"{place}: {key + ': ' if key else ''}{message}") from None
        case "string_pattern_mismatch" if loc and loc[-1] == "[key]":
            raise bad_input(place, key.removesuffix(".[key]"), loc[-2], _lower(message)) from None
        case _:
            raise bad_input(place, key, first["input"], _lower(message)) from None


def _first_mistake(error: ValidationError) -> tuple[tuple[Any, ...], Any, type[BaseModel] | None]:
    """Path, pydantic's record and the type that it is about; plug-ins nest one error in another."""
    first = error.errors(include_url=False)[0]
    # Alternatives of a union and validator functions show up in paths; no key of the user has their names.
    loc = tuple(
        p
        for p in first["loc"]
        if not str(p).startswith(("function-", "literal[", "constrained-", "float", "tuple["))
    )
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, ValidationError):
        deeper, record, model = _first_mistake(inner)
        return (*loc, *deeper), record, model
    return loc, first, next((c for c in _subclasses(Strict) if c.__name__ == error.title), None)


def _subclasses(cls: type) -> Iterator[type]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def _fields_at(model: type[BaseModel] | None, loc: Sequence[Any]) -> list[str]:
    """Field names of the type that a path inside ``model`` leads to."""
    for part in loc:
        fields = getattr(model, "model_fields", {})
        if part in fields:
            model = next(_models_in(fields[part].annotation), None)
    return list(getattr(model, "model_fields", {}))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _lower(message: str) -> str:
    """What was expected, as the end of a sentence: "Input should be a valid integer" is cut to its end."""
    message = message.removeprefix("Input should ").removeprefix("be ")
    return message[:1].lower() + message[1:]

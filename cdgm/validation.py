"""Validation of config and specs by pydantic, with errors of one line that name file, key and value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from cdgm.errors import UserError, bad_input


def validated(model: type[BaseModel], values: Any, where: Any, prefix: tuple = ()) -> Any:
    """Validate ``values`` as ``model``; the first error becomes a one-line :class:`UserError`.

    Parameters
    ----------
    model
        The type.
    values
        Raw values.
    where
        Place named in the error, or a function from the key's path to it.
    prefix
        Path of ``values`` inside the file.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = (*prefix, *(p for p in first["loc"] if not str(p).startswith(("function-", "literal["))))
        key = ".".join(map(str, path))
        place = where(path) if callable(where) else where
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(_fields_at(model, first["loc"][:-1]))) or "no further keys"
            raise bad_input(place, key, _Raw("an unknown key"), f"one of: {known}") from None
        if first["type"] == "missing":
            raise UserError(f"{place}: {key}: missing, expected a value") from None
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "value_error":
            raise UserError(f"{place}: {key + ': ' if key else ''}{message}") from None
        raise bad_input(place, key, first["input"], message.replace("Input should be", "").strip()) from None


class _Raw(str):
    """A text that shows itself without quotes in error messages."""

    def __repr__(self) -> str:
        return str(self)


def _fields_at(model: type[BaseModel], loc: Sequence[Any]) -> list[str]:
    """Field names of the type that an error's path leads to."""
    for part in loc:
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            continue
        annotation = fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(getattr(model, "model_fields", {}))

"""Plug-ins: named, typed options that carry their own behaviour, found through registries.

A plug-in is a frozen pydantic model. Its fields are the options a user writes in the config beside
``kind``, its methods are the behaviour. A registry maps ``kind`` to the class as a string and imports
the module only when that kind is used. So the config knows every option without loading torch
(plug-ins import torch inside their methods), and a file's code digest covers just the plug-ins that
its spec names (:mod:`cdgm.workflow.code_digest`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from cdgm.utils.errors import shown

#: What pydantic would turn into a number or a switch, and a reader of the file would not.
_COERCED = {"int": (bool, str, bytes), "float": (bool, str, bytes), "bool": (int, float, str, bytes)}


def _without_coercion(schema: Any, within: bool = False) -> Any:
    """A schema of pydantic's core whose numbers and switches refuse values of other types."""
    if isinstance(schema, list | tuple):
        return type(schema)(_without_coercion(part, within) for part in schema)
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind == "model" and within:
        # Treated already, when its class was made.
        return schema
    if kind not in _COERCED:
        within = within or kind == "model"
        return {key: _without_coercion(value, within) for key, value in schema.items()}

    def refuse(value: Any) -> Any:
        if isinstance(value, _COERCED[kind]) and not (kind == "bool" and isinstance(value, bool)):
            raise PydanticKnownError(cast("Any", f"{kind}_type"))
        return value

    return core_schema.no_info_before_validator_function(refuse, cast("CoreSchema", schema))


class Strict(BaseModel):
    """Base of all config types: unknown keys are refused and values can't change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Numbers and switches are written as such: neither ``yes`` nor ``"10"`` is a number."""
        return _without_coercion(handler(source))


#: Values of a list of which none may occur twice.
MOST_LISTED = 1_000


def distinct(values: Sequence[Any]) -> Sequence[Any]:
    """Refuse a list that holds a value twice, for pydantic; numbers that are written alike count as one."""
    if len(values) > MOST_LISTED:
        raise ValueError(f"holds {len(values):,} values, expected at most {MOST_LISTED:,}")
    for i, value in enumerate(values):
        if any(value == other or str(value) == str(other) for other in values[:i]):
            raise ValueError(f"holds {shown(value)} twice")
    return values


class Plugin(Strict):
    """Base of every plug-in; subclasses narrow ``kind`` to a ``Literal`` of their own name."""

    #: Name in the config, a string; the type leaves it to subclasses to narrow it.
    kind: Any

    @model_serializer(mode="wrap")
    def _keep_kind(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """``kind`` is a default of each subclass, but without it nothing can be read back."""
        return {"kind": self.kind} | handler(self)


class Registry(Mapping[str, str]):
    """Names of one kind of plug-in and where each lives (``"package.module:Class"``).

    Parameters
    ----------
    what
        What the plug-ins are, in the singular, for error messages ("likelihood").
    entries
        ``kind`` to ``"module:Class"``.
    """

    def __init__(self, what: str, entries: Mapping[str, str]) -> None:
        self.what = what
        self._entries = dict(entries)

    def __getitem__(self, kind: str) -> str:
        return self._entries[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, kind: str) -> type[Plugin]:
        """Import the class registered under ``kind``.

        Raises
        ------
        ValueError
            If there is none.
        """
        if not isinstance(kind, str) or kind not in self._entries:
            known = ", ".join(sorted(self._entries)) or "none yet"
            raise ValueError(f"unknown {self.what} {shown(kind)}, known: {known}")
        module, name = self._entries[kind].split(":")
        return getattr(importlib.import_module(module), name)

    def parse(self, value: Any) -> Plugin:
        """Turn ``{"kind": ..., options}`` into the plug-in; a plug-in passes through."""
        if isinstance(value, Plugin):
            return value
        if not isinstance(value, Mapping) or "kind" not in value:
            raise ValueError(f"a {self.what} is a mapping with the key 'kind'")
        return self.load(value["kind"]).model_validate(dict(value))


class Sweep(tuple[float, ...]):
    """Several values of one number: a stack then holds members with each of them."""


def whole(value: float | Sweep) -> int | Sweep:
    """Refuse a number, or one of a sweep, that is not whole, for pydantic."""
    for number in value if isinstance(value, Sweep) else (value,):
        if number != int(number):
            raise ValueError(f"expected a whole number, got {number}")
    return Sweep(map(int, value)) if isinstance(value, Sweep) else int(value)


@dataclass(frozen=True)
class PerMember:
    """Annotates a number that may differ between the members of a stack, with its bounds.

    ``rate: Annotated[float | Sweep, PerMember(above=0)]`` accepts a number, which all members share, or a
    list, which becomes a :class:`Sweep`: every seed is fitted with every value, all in one stack.
    """

    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Parse by :meth:`parse`; a sweep is written as a list."""
        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: list(value) if isinstance(value, Sweep) else value
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        """Describe a number or a list of numbers."""
        return {"type": ["number", "array"], "items": {"type": "number"}}

    def parse(self, value: Any) -> float | Sweep:
        """Check a number, or each number of a list."""
        if not isinstance(value, (list, tuple)):
            return self._number(value)
        values = [self._number(v) for v in value]
        # By the digits that names of points show: two points of one name could not be told apart.
        if not values or len({f"{v:g}" for v in values}) < len(values):
            raise ValueError(
                f"expected a number, or a list of numbers that are different to six digits, got {list(value)}"
            )
        return Sweep(values)

    def _number(self, value: Any) -> float:
        # Not math.isfinite, which fails on a whole number that no float holds.
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not abs(value) <= sys.float_info.max
        ):
            raise ValueError(f"expected a number, got {shown(value)}")
        for wrong, what in (
            (self.minimum is not None and value < self.minimum, f"of at least {self.minimum}"),
            (self.above is not None and value <= self.above, f"above {self.above}"),
            (self.maximum is not None and value > self.maximum, f"of at most {self.maximum}"),
        ):
            if wrong:
                raise ValueError(f"expected a number {what}, got {value}")
        return float(value)


def sweeps(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Sweep]]:
    """Every sweep anywhere inside a plug-in, a spec, or a container of them: its path and its values."""
    if isinstance(value, Sweep):
        yield path, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from sweeps(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from sweeps(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from sweeps(item, (*path, i))


def registry_at(address: str) -> Registry:
    """The registry at ``"package:NAME"``; its package imports nothing, so this is cheap."""
    module, name = address.split(":")
    return getattr(importlib.import_module(module), name)


def field_of(registry: Registry | str, optional: bool = False) -> Any:
    """Return the type of a pydantic field that holds a plug-in of ``registry``, or None if ``optional``.

    The config lies below the packages that hold plug-ins, so it names a registry by its address. Type
    checkers cannot evaluate this call, so it stands in the ``else`` of an ``if TYPE_CHECKING:`` that imports
    the plug-ins' base class under the same name.
    """
    registry = registry_at(registry) if isinstance(registry, str) else registry
    schema: dict[str, Any] = {
        "type": "object", "required": ["kind"], "properties": {"kind": {"enum": sorted(registry)}}
    }  # fmt: skip
    return Annotated[
        Any,
        PlainValidator(lambda value: None if optional and value is None else registry.parse(value)),
        PlainSerializer(lambda plugin: plugin and plugin.model_dump(mode="json", exclude_defaults=True)),
        WithJsonSchema({"anyOf": [schema, {"type": "null"}]} if optional else schema),
    ]

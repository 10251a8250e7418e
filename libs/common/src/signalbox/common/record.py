"""Records: immutable values with named fields, as dataclasses that are cheap to define and to make.

``@dataclass(frozen=True, slots=True)`` writes and compiles seven methods for each class, which was a seventh of what a
start computes, and assigns each field around its own ban, which doubles what making a record costs. Here all classes
share their methods but ``__init__``, and who assigns to a record hears it from mypy.
"""

from dataclasses import dataclass, field
from typing import Any, TypeVar, dataclass_transform

_Record = TypeVar("_Record")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[_Record]) -> type[_Record]:
    """A class whose annotated names are the fields of its instances; ``dataclasses.replace`` and the like take them.

    Two are equal if they are of one class and their fields are. It has slots, so no other attributes. Methods that the
    class defines itself are kept.
    """
    for name, method in (("__eq__", _equals), ("__hash__", _hashed), ("__repr__", _shown)):
        if name not in cls.__dict__:
            setattr(cls, name, method)
    return dataclass(slots=True, eq=False, repr=False)(cls)


def _values(self: Any) -> tuple[Any, ...]:
    parts = self.__dataclass_fields__.values()
    return tuple([getattr(self, part.name) for part in parts if part.compare])


def _equals(self: Any, other: object) -> bool:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hashed(self: Any) -> int:
    return hash(_values(self))


def _shown(self: Any) -> str:
    parts = self.__dataclass_fields__.values()
    shown = [f"{part.name}={getattr(self, part.name)!r}" for part in parts if part.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"

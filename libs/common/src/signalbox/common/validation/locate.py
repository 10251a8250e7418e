"""Where an error of pydantic stands in the document.

Pydantic's locations also name the branches of unions that it tried; walking the models' types along a location
tells those from keys.
"""

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, StringConstraints
from pydantic.fields import FieldInfo

from signalbox.common.pointers import Path, PathPart
from signalbox.common.record import record

SECRET_PATTERN = "^secret:"  # noqa: S105 - how the pattern of SecretRef begins
_LABELS = {str: "str", bool: "bool", int: "int", float: "float", list: "list", dict: "dict"}


@record
class Place:
    """A place in a document, as an error named it."""

    path: Path
    model: type[BaseModel] | None = None
    """The model that the last part of the path is a field of."""
    annotation: Any = None
    """The type that is wanted there."""
    secret: bool = False
    key: bool = False
    """Whether the last part of the path is wrong itself, and not its value."""
    other_branch_of: Path | None = None
    """Set where the error is about a branch of a union that the value does not even resemble: the union's path."""


def locate(location: tuple[PathPart, ...], root: type[BaseModel], document: Any) -> Place:
    """The place that a location of pydantic means in a document validated as ``root``."""
    walk = _Walk(root, document)
    for part in location:
        if not walk.step(part):
            break
    return walk.place()


class _Walk:
    def __init__(self, root: Any, document: Any) -> None:
        self._annotation: Any = root
        self._value = document
        self._path: list[PathPart] = []
        self._model: type[BaseModel] | None = None
        self._secret = False
        self._key = False
        self._other_branch: Path | None = None

    def place(self) -> Place:
        self._resolve()
        path = tuple(self._path)
        return Place(path, self._model, self._annotation, self._secret, self._key, self._other_branch)

    def step(self, part: PathPart) -> bool:
        """Follow one part of the location. False when the rest is not needed."""
        self._resolve()
        if part == "[key]":
            self._key = True
            return False
        members = _members(self._annotation)
        if members is not None:
            return self._enter_branch(members, part)
        self._path.append(part)
        self._model = None
        if isinstance(self._annotation, type) and issubclass(self._annotation, BaseModel):
            self._enter_field(self._annotation, part)
        else:
            arguments = get_args(self._annotation)
            self._annotation = arguments[-1] if arguments else Any
        self._value = _child(self._value, part)
        return True

    def _enter_field(self, model: type[BaseModel], part: PathPart) -> None:
        self._model = model
        field = model.model_fields.get(str(part))
        self._annotation = field.annotation if field is not None else Any
        self._secret = field is not None and _is_secret(field.metadata)

    def _enter_branch(self, members: list[Any], part: PathPart) -> bool:
        if all(isinstance(member, type) and issubclass(member, BaseModel) for member in members):
            self._annotation = next((member for member in members if _has_tag(member, part)), Any)
            return True
        wanted = _LABELS.get(type(self._value), "")
        if not wanted or str(part).partition("[")[0] != wanted:
            self._other_branch = tuple(self._path)
            return False
        self._annotation = next((member for member in members if _label(member) == wanted), Any)
        return True

    def _resolve(self) -> None:
        """Strip ``Annotated`` and ``| None``, which leave no trace in a location."""
        while True:
            if get_origin(self._annotation) is Annotated:
                self._annotation, *metadata = get_args(self._annotation)
                self._secret = self._secret or _is_secret(metadata)
                continue
            options = _union_options(self._annotation)
            if options is not None and len(options) == 1:
                self._annotation = options[0]
                continue
            return


def _union_options(annotation: Any) -> list[Any] | None:
    if get_origin(annotation) not in (Union, types.UnionType):
        return None
    return [option for option in get_args(annotation) if option is not type(None)]


def _members(annotation: Any) -> list[Any] | None:
    options = _union_options(annotation)
    if options is None:
        return None
    return [get_args(option)[0] if get_origin(option) is Annotated else option for option in options]


def _label(annotation: Any) -> str:
    return getattr(get_origin(annotation) or annotation, "__name__", "")


def _has_tag(model: type[BaseModel], tag: PathPart) -> bool:
    discriminators = (model.model_fields.get(name) for name in ("type", "mode"))
    return any(field is not None and tag in get_args(field.annotation) for field in discriminators)


def _is_secret(metadata: list[Any]) -> bool:
    return any(
        isinstance(item, StringConstraints) and str(item.pattern).startswith(SECRET_PATTERN)
        for item in metadata
    )


def _child(value: Any, part: PathPart) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def known_fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """The fields of a model by name."""
    return model.model_fields

"""Base classes and shared field types of every contract."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from signalbox.contracts.documentation import DocumentedModel

Identifier = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", min_length=1, max_length=64)
]
"""A name given by an author: a letter, then letters, digits, ``_``, ``.`` or ``-``; 64 characters at most."""

ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An id chosen by a client (session, user, key): 1 to 200 characters, none of them a control character."""

SessionId = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/.][^\x00-\x1f\x7f/]*$")
]
"""An id that stands in a path: as ``ExternalId``, without a slash and without a dot at its start."""

ConfigHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, in lower-case hex, over the RFC 8785 form of a workflow document as it was submitted."""

LanguageTag = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
"""A BCP 47 language tag such as ``en`` or ``zh-Hant``."""

SecretRef = Annotated[str, StringConstraints(pattern=r"^secret:[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=200)]
"""A reference to a secret, ``secret:NAME``; never the value."""

LocalizedText = str | list[str] | dict[LanguageTag, str | list[str]]
"""A text template: one string, a list of variations, or either of them by language tag."""

JsonSchema = dict[str, Any]
"""A JSON Schema (draft 2020-12) document."""

EpochMs = Annotated[int, Field(ge=0, description="Milliseconds since 1970-01-01T00:00:00Z.")]


class WireModel(DocumentedModel):
    """A message between services, an event, or a stored document: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


class PublicRequest(DocumentedModel):
    """The body of a public request: an unknown field is an error that names it."""

    model_config = ConfigDict(extra="forbid")


class ConfigModel(DocumentedModel):
    """A part of the workflow config.

    Unknown fields are ignored when a stored snapshot is read; validation passes ``extra="forbid"`` and
    reports each of them.
    """

    model_config = ConfigDict(extra="ignore")

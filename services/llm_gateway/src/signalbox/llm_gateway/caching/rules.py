"""Which models' answers are kept and shared, as an operator writes it."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

ANY_MODEL = "*"

MAX_ENTRY_BYTES = 1_048_576
"""An answer that is larger is not kept, where no rule says otherwise."""


class SemanticRule(BaseModel):
    """When the answer to another question will do: one whose text lies near, all else of the request being equal.

    Only requests without tools whose last message is a text of the user's are compared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding_model: str = Field(min_length=1, max_length=200)
    """Makes the vectors. Each costs a call of its own, by the caller's limits and budgets."""
    threshold: float = Field(ge=0.5, le=1)
    """The cosine from which two questions mean the same; what is right depends on the embedding model."""
    ttl_s: int = Field(ge=1, le=31_536_000)
    """Seconds for which an answer may be given to other questions."""
    max_entries: int = Field(default=256, ge=1, le=1024)
    """Questions that are remembered of requests that are otherwise equal, in any ``ttl_s`` seconds."""


class CacheRule(BaseModel):
    """What may be done with the answers of a model, part of the gateway's file. Nothing is kept without one.

    A caller can ask for less (``Cache-Control: no-store``), and for more: ``max-age=N`` keeps answers of a model whose
    rule names no ``ttl_s``, or that has none, for N seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, max_length=200)
    """The name that is asked for; ``*``: every model that no other rule names."""
    ttl_s: int | None = Field(default=None, ge=0, le=31_536_000)
    """Seconds for which an answer is given again to the same request. 0: never, whatever callers ask."""
    max_bytes: int = Field(default=MAX_ENTRY_BYTES, ge=1024)
    """A larger answer is not kept."""
    semantic: SemanticRule | None = None
    coalesce: bool = False
    """Identical calls that are under way at a time become one, whether or not their callers ask for it."""


class CacheRules:
    """The rules by model."""

    def __init__(self, rules: Iterable[CacheRule]) -> None:
        self._rules = {rule.model: rule for rule in rules}
        self._rest = self._rules.get(ANY_MODEL)

    def of(self, model: str) -> CacheRule | None:
        """The rule that holds for a model."""
        return self._rules.get(model, self._rest)

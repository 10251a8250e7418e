"""The gateway's one file: what an operator declares beside settings. ``SIGNALBOX_LLM_DEPLOYMENTS_FILE`` names it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from signalbox.common.settings import SettingsError
from signalbox.llm_gateway.caching.rules import CacheRule
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money.book import DatedPrice
from signalbox.llm_gateway.policies.keys import KeySpec
from signalbox.llm_gateway.policies.rules import BudgetRule, LimitRule, TenantRule
from signalbox.llm_gateway.routing.rules import ModelRoute


class GatewayFile(BaseModel):
    """Its sections; a file that is a list is one of deployments.

    Deployments are read at the start; limits, budgets, tenants, keys and prices again whenever the file changes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    deployments: list[Deployment] = []
    models: list[ModelRoute] = []
    limits: list[LimitRule] = []
    budgets: list[BudgetRule] = []
    tenants: list[TenantRule] = []
    keys: list[KeySpec] = []
    prices: list[DatedPrice] = []
    caches: list[CacheRule] = []

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        named = {
            "limits": [f"{rule.name} of {rule.tenant}" for rule in self.limits],
            "budgets": [f"{rule.name} of {rule.tenant}" for rule in self.budgets],
            "tenants": [rule.tenant for rule in self.tenants],
            "keys": [key.key_id for key in self.keys],
            "caches": [rule.model for rule in self.caches],
        }
        for section, names in named.items():
            if twice := _twice(names):
                raise ValueError(f"{section}: {', '.join(twice)} is there twice")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file's content, YAML or JSON.

        Raises:
            SettingsError: it cannot be read; the sentence says all that is wrong, each with its place.
        """
        return cls.section(path, "deployments")

    @classmethod
    def section(cls, path: Path, name: str) -> Self:
        """A file's content; one that is a list is the section ``name``. Raises as ``read`` does."""
        try:
            content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls.model_validate({name: content} if isinstance(content, list) else content)
        except (OSError, yaml.YAMLError) as error:
            raise SettingsError(f"Cannot read {path}: {error}") from error
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
            )
            raise SettingsError(f"{path} cannot be used: {wrong}") from error


def _twice(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)

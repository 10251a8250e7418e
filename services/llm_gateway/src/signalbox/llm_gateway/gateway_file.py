"""The gateway's one file: what an operator declares beside settings. ``SIGNALBOX_LLM_DEPLOYMENTS_FILE`` names it."""

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from signalbox.common.settings import SettingsError
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.policies.rules import BudgetRule, LimitRule, TenantRule
from signalbox.llm_gateway.routing.rules import ModelRoute


class GatewayFile(BaseModel):
    """Its sections; a file that is a list is one of deployments."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    deployments: list[Deployment] = []
    models: list[ModelRoute] = []
    limits: list[LimitRule] = []
    budgets: list[BudgetRule] = []
    tenants: list[TenantRule] = []

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file's content, YAML or JSON.

        Raises:
            SettingsError: it cannot be read; the sentence says all that is wrong, each with its place.
        """
        try:
            content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls.model_validate({"deployments": content} if isinstance(content, list) else content)
        except (OSError, yaml.YAMLError) as error:
            raise SettingsError(f"Cannot read SIGNALBOX_LLM_DEPLOYMENTS_FILE {path}: {error}") from error
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
            )
            raise SettingsError(f"{path} cannot be used: {wrong}") from error

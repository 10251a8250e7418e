"""Which names become labels: as many as are configured or were answered, however many are asked for."""

import re
import time
from collections.abc import Callable, Sequence

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.telemetry.conventions import provider_name

OTHER = "_OTHER"
"""Label of everything that has none of its own: OpenTelemetry's own word for it."""

_MAX_ANSWERED = 200
_MAX_ERRORS = 100
_LOOK_EVERY_S = 1.0
_ERROR = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


class Names:
    """Labels of models, deployments and errors.

    A caller may ask for any name, and where a deployment serves all of them (``*``) it goes to its provider. So a
    name has a label once it is configured, or once a provider has answered by it; of the latter, 200 at most.
    """

    def __init__(self, deployments: Callable[[], Sequence[Deployment]]) -> None:
        self._deployments = deployments
        self._models: set[str] = set()
        self._served: dict[str, tuple[str, str]] = {}
        self._providers: set[str] = set()
        self._answered: set[str] = set()
        self._errors: set[str] = set()
        self._looked = -_LOOK_EVERY_S

    def model(self, name: str, *, answered: bool) -> str:
        """The label of a model that was asked for."""
        if name in self._models or name in self._answered:
            return name
        self._look_again()
        return name if name in self._models or (answered and self._remember(name)) else OTHER

    def deployment(self, name: str, *, answered: bool) -> tuple[str, str, str]:
        """Labels of a deployment (``PROVIDER/MODEL``): itself, its provider, and the provider's model."""
        found = self._served.get(name)
        if found is None:
            self._look_again()
            found = self._served.get(name)
        if found is not None:
            return name, *found
        provider, _, model = name.partition("/")
        if provider not in self._providers:
            return OTHER, OTHER, OTHER
        if name in self._answered or (answered and self._remember(name)):
            return name, provider_name(provider), model
        return f"{provider}/{OTHER}", provider_name(provider), OTHER

    def error(self, code: str | None) -> str:
        """The label of an error; empty without one. Codes may be a provider's own, so they are bounded too."""
        if code is None or code in self._errors:
            return code or ""
        if len(self._errors) >= _MAX_ERRORS or not _ERROR.fullmatch(code):
            return OTHER
        self._errors.add(code)
        return code

    def _remember(self, name: str) -> bool:
        if len(self._answered) >= _MAX_ANSWERED:
            return False
        self._answered.add(name)
        return True

    def _look_again(self) -> None:
        """What is configured changes with what providers list, seldom: looked up at most once a second."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        deployments = self._deployments()
        self._models = {deployment.model for deployment in deployments}
        self._providers = {deployment.provider for deployment in deployments}
        self._served = {
            deployment.name: (provider_name(deployment.provider), deployment.provider_model)
            for deployment in deployments
        }

"""The models that there are: those declared, those found, and the demo model when there is no other."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from decimal import Decimal

from signalbox.common.errors import SignalboxError
from signalbox.contracts.config.llm import ModelRole
from signalbox.contracts.llm import ModelInfo, ModelList
from signalbox.llm_gateway.deployments import (
    ANY_MODEL,
    DEMO_MODEL,
    Capabilities,
    Deployment,
)
from signalbox.llm_gateway.errors import ModelNotFound
from signalbox.llm_gateway.ports import ModelSource
from signalbox.llm_gateway.rates import PriceSpec
from signalbox.llm_gateway.roles import RoleChoice, choose_roles

_LOG = logging.getLogger(__name__)

SETTLE_S = 0.3
"""How long a first request waits for sources that have not answered since the start."""

LEARNED_S = 600.0
_RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

DEMO = Deployment(
    model=DEMO_MODEL,
    provider=DEMO_MODEL,
    price=PriceSpec(input=Decimal(0), output=Decimal(0)),
    capabilities=Capabilities(tools=True, json_mode=True, embeddings=False),
)


class Catalog:
    """Deployments by model name, and the default model of each role.

    ``sources`` are asked in the background from ``start`` on: one marked as local once, the others until they
    have answered.
    """

    def __init__(
        self,
        declared: Sequence[Deployment],
        chosen: Callable[[ModelRole], str | None],
        *,
        sources: Sequence[ModelSource] = (),
        local: ModelSource | None = None,
    ) -> None:
        self.declared = list(declared)
        self._chosen = chosen
        self._sources = list(sources)
        self._local = local
        self._found: dict[str, list[Deployment]] = {}
        self._missing: dict[str, str] = {}
        self._lacking: dict[tuple[str | None, ...], tuple[Capabilities, float]] = {}
        self.version = 0
        """Another number whenever there may be other models than before."""
        self._asked = 0
        self._settled = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        if not self._everywhere():
            self._settled.set()

    async def start(self) -> None:
        """Begin to ask the sources; returns at once."""
        everywhere = self._everywhere()
        self._tasks = [asyncio.create_task(self._ask(source, len(everywhere))) for source in everywhere]

    async def stop(self) -> None:
        """Stop asking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Wait until each source was asked once, but never longer than 0.3 s."""
        if not self._settled.is_set():
            try:
                async with asyncio.timeout(SETTLE_S):
                    await self._settled.wait()
            except TimeoutError:
                self._settled.set()

    def deployments(self) -> list[Deployment]:
        """All of them, in the order in which they are preferred."""
        found = [
            deployment for source in self._everywhere() for deployment in self._found.get(source.name, [])
        ]
        everything = [*self.declared, *found]
        if not any(deployment.capabilities.chat for deployment in everything):
            everything.append(DEMO)
        return everything

    def find(self, model: str) -> list[Deployment]:
        """The deployments that serve a model.

        Those that the operator declared, else the first one found, else the first one that serves every model.

        Raises:
            ModelNotFound: none does; the sentence names models that there are.
        """
        everything = self.deployments()
        declared = [deployment for deployment in self.declared if deployment.model == model]
        if declared:
            return declared
        for wanted in (model, ANY_MODEL):
            for deployment in everything:
                if deployment.model == wanted:
                    return [deployment]
        names = ", ".join(sorted({deployment.model for deployment in everything})[:10])
        raise ModelNotFound(f"There is no model '{model}'; there are: {names}.", pointer="/model")

    def learn(self, deployment: Deployment, *, lacks: str) -> None:
        """Remember for ten minutes that a deployment lacks ``tools`` or ``json_mode``.

        Not for ever: a provider may have said so about one odd request of one caller.
        """
        known = self.as_learned(deployment).capabilities.model_copy(update={lacks: False})
        self._lacking[_key(deployment)] = (known, time.monotonic() + LEARNED_S)
        _LOG.warning("%s lacks %s; it is prompted for them for a while", deployment.name, lacks)

    def describe_roles(self) -> list[RoleChoice]:
        """The default model of each role, and why."""
        deployments = [self.as_learned(deployment) for deployment in self.deployments()]
        return choose_roles(deployments, self._chosen, list(self._missing.values()))

    async def listing(self) -> ModelList:
        """What ``GET /llm/v1/models`` answers."""
        await self.settle()
        by_name: dict[str, Deployment] = {}
        for deployment in self.deployments():
            if deployment.model != ANY_MODEL:
                by_name.setdefault(deployment.model, self.as_learned(deployment))
        choices = self.describe_roles()
        return ModelList(
            data=[_info(deployment) for deployment in by_name.values()],
            roles={choice.role: choice.model for choice in choices if choice.model is not None},
            role_reasons={choice.role: choice.reason for choice in choices},
        )

    def _everywhere(self) -> list[ModelSource]:
        return [*self._sources, *([self._local] if self._local else [])]

    def as_learned(self, deployment: Deployment) -> Deployment:
        """A deployment with what its provider has said that it lacks."""
        if not self._lacking:
            return deployment
        capabilities, until = self._lacking.get(_key(deployment), (None, 0.0))
        if capabilities is None or time.monotonic() >= until:
            return deployment
        return deployment.model_copy(update={"capabilities": capabilities})

    async def _ask(self, source: ModelSource, expected: int) -> None:
        attempt = 0
        while True:
            try:
                self._found[source.name] = await source.deployments()
                self.version += 1
                self._missing.pop(source.name, None)
                missing = False
            except SignalboxError as error:
                missing = True
                if source is not self._local:
                    self._missing[source.name] = (
                        f"{source.name} does not list its models ({error.detail}); name one in SIGNALBOX_MODEL"
                    )
            if attempt == 0:
                self._asked += 1
                if self._asked == expected:
                    self._settled.set()
            if not missing or source is self._local:
                return
            if attempt == 0:
                _LOG.warning("%s; asking again until it does", self._missing[source.name])
            await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
            attempt += 1


def _key(deployment: Deployment) -> tuple[str | None, ...]:
    return deployment.name, deployment.provider_model, deployment.url


def _info(deployment: Deployment) -> ModelInfo:
    return ModelInfo(
        id=deployment.model,
        owned_by=deployment.provider,
        tools=deployment.capabilities.tools,
        json_mode=deployment.capabilities.json_mode,
        embeddings=deployment.capabilities.embeddings,
        context_window=deployment.context_window,
    )

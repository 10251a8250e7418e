"""Which deployments a call may use."""

from dataclasses import dataclass

from signalbox.llm_gateway.deployments import Deployment


@dataclass(frozen=True, slots=True)
class Plan:
    """The deployments that may answer a call for ``model``, never empty; the first one is tried first."""

    model: str
    deployments: tuple[Deployment, ...]

    @property
    def first(self) -> Deployment:
        """Where the call goes, if nothing speaks against it."""
        return self.deployments[0]

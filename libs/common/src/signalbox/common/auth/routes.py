"""Scopes on routes: every endpoint names the one that it needs, or says that it is public."""

from fastapi import Request

from signalbox.common.auth.authenticator import Authenticator
from signalbox.common.errors import Forbidden
from signalbox.contracts.context import CallContext
from signalbox.contracts.identity import Principal, Scope

PUBLIC = {"x-public": True}
"""``openapi_extra`` of a route that needs no credential."""


class Requires:
    """A FastAPI dependency that gives the principal, if it holds ``scope``."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Principal:
        """The principal of the request.

        Raises:
            Unauthenticated: no usable credential.
            Forbidden: the credential lacks the scope.
        """
        return permitted(principal_of(request), self.scope)


def permitted(principal: Principal, scope: Scope) -> Principal:
    """The principal, who must hold ``scope``.

    Raises:
        Forbidden: the credential lacks the scope.
    """
    if not principal.may(scope):
        raise Forbidden(f"This needs the scope '{scope}'; use a key that was created with it.")
    return principal


def principal_of(request: Request) -> Principal:
    """The principal of a request, whatever its scopes.

    Raises:
        Unauthenticated: no usable credential.
    """
    authenticator: Authenticator = request.app.state.authenticator
    return authenticator.authenticate(request.headers)


def check_context(context: CallContext, principal: Principal) -> None:
    """Whether a call between services says the same as its credential.

    Raises:
        Forbidden: it names another tenant, or a workflow that the credential may not use.
    """
    if context.tenant != principal.tenant or not principal.may_use(context.workflow_id):
        raise Forbidden("The credential is not for this tenant and workflow; callers pass on their own.")

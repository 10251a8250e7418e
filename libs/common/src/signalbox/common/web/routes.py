"""Routes that are analysed when they are first called: a start need not read the signatures of all endpoints."""

from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import compile_path, get_name


class LateRoute(APIRoute):
    """A route that knows its path and methods at once, and its parameters, body and answer when they are needed.

    FastAPI analyses an endpoint, and builds the validators of its models, when its route is made: for the hundred
    routes of one process that is a fifth of its start. What is not set yet is asked for through ``__getattr__``,
    so whoever needs more than the path (a call, the API description) gets a route like any other.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._given = (path, endpoint, options)
        self.path = path
        self.endpoint = endpoint
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        self.methods = {method.upper() for method in options.get("methods") or ["GET"]}
        self.name = options.get("name") or get_name(endpoint)

    def analyse(self) -> None:
        """Analyse the endpoint, if that was not done; may be called from any thread.

        Two that do it at the same time come to the same result, and ``app``, which is what a call uses, is set last.
        """
        if "app" not in self.__dict__:
            path, endpoint, options = self._given
            super().__init__(path, endpoint, **options)

    def __getattr__(self, name: str) -> Any:
        # Only for what is not set: what Python asks of every object (copying, pickling) is no reason to analyse.
        if name.startswith("__") or name == "_given" or "app" in self.__dict__:
            raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}'")
        self.analyse()
        return getattr(self, name)

"""Markdown tables made from the services: their public routes, their settings, the errors that they answer with."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

from doc_tables import sentence, table
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

import signalbox
from signalbox.common.cli.serve import load_factory
from signalbox.common.errors import SignalboxError
from signalbox.common.settings import SERVICE_NAMES, CommonSettings
from signalbox.contracts.admin import ServiceName
from signalbox.contracts.documentation import field_docstrings

_TITLES: dict[ServiceName, str] = {
    "workflow": "Workflow",
    "skills": "Skills",
    "flows": "Flows",
    "tools": "Tools",
    "llm_gateway": "LLM Gateway",
    "admin": "Admin",
}
_OF_THE_COMMAND_LINE = (
    "signalbox.common.cli",
    "signalbox.common.importing",
    ".cli",
    ".settings",
    "signalbox.standalone",
)
_NO_ERRORS = re.compile(r"\.(standalone|migrations|__main__)\b")
_HEALTH = {"/live", "/ready", "/metrics"}


def routes(service: ServiceName) -> list[str]:
    """The public routes of a service."""
    app = load_factory(service)()
    rows = []
    for route in _routes(app):
        if route.path.startswith("/internal/") or route.path in _HEALTH:
            continue
        [method] = sorted(route.methods or ())
        answer = getattr(route.response_model, "__name__", None)
        if answer is None:
            answer = (
                "204"
                if route.status_code == 204
                else "stream"
                if "Stream" in str(route.response_class)
                else ""
            )
        body = route.body_field.field_info.annotation if route.body_field is not None else None
        rows.append(
            [
                f"`{method} {route.path}`",
                _scope(route),
                getattr(body, "__name__", ""),
                answer,
                sentence(route.description),
            ]
        )
    return table(["call", "scope", "body", "answer", "what it does"], rows)


def settings() -> list[str]:
    """Every setting: those that all services have, then those of each."""
    lines = ["### All services", "", *_settings(CommonSettings, ()), ""]
    for service in sorted(SERVICE_NAMES, key=list(_TITLES).index):
        module = importlib.import_module(f"signalbox.{service}.settings")
        own = next(
            kind
            for kind in vars(module).values()
            if isinstance(kind, type)
            and issubclass(kind, CommonSettings)
            and kind.__module__ == module.__name__
        )
        if own.model_fields.keys() - CommonSettings.model_fields.keys():
            lines += [f"### {_TITLES[service]}", "", *_settings(own, tuple(CommonSettings.model_fields)), ""]
    return lines[:-1]


def problems() -> list[str]:
    """Every code that an error answer may have, with its status."""
    for module in pkgutil.walk_packages(signalbox.__path__, "signalbox."):
        if not _NO_ERRORS.search(module.name):
            importlib.import_module(module.name)
    found: dict[str, tuple[int, str]] = {}
    for error in _subclasses(SignalboxError):
        if "code" in vars(error) and not any(part in error.__module__ for part in _OF_THE_COMMAND_LINE):
            found.setdefault(error.code, (error.status, sentence(error.__doc__)))
    rows = sorted(found.items(), key=lambda item: (item[1][0], item[0]))
    return table(
        ["status", "code", "meaning"], [[str(status), f"`{code}`", text] for code, (status, text) in rows]
    )


def _routes(app: FastAPI) -> Iterator[APIRoute]:
    return (route for route in app.routes if isinstance(route, APIRoute))


def _scope(route: APIRoute) -> str:
    if (route.openapi_extra or {}).get("x-public"):
        return "none"
    scopes = [getattr(dependency.call, "scope", None) for dependency in route.dependant.dependencies]
    return " ".join(f"`{scope}`" for scope in scopes if scope is not None)


def _settings(kind: type[CommonSettings], leave_out: tuple[str, ...]) -> list[str]:
    rows = []
    described = field_docstrings(kind)
    for name, field in kind.model_fields.items():
        if name not in leave_out:
            meaning = field.description or described.get(name)
            rows.append([_variables(name, field), _default(field), sentence(meaning)])
    return table(["variable", "default", "meaning"], rows)


def _variables(name: str, field: FieldInfo) -> str:
    names = [f"SIGNALBOX_{name.upper()}"]
    if isinstance(field.validation_alias, AliasChoices):
        names = [str(choice) for choice in field.validation_alias.choices if str(choice).isupper()]
    return " or ".join(f"`{each}`" for each in names)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value == "":
        return "none"
    if isinstance(value, SecretStr | list | dict):
        return f"`{value}`" if value else "none"
    return f"`{value}`"


def _subclasses(kind: type[SignalboxError]) -> Iterator[type[SignalboxError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)

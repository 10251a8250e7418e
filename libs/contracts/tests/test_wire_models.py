import importlib
import inspect
import pkgutil

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

import signalbox.contracts
from signalbox.contracts.background import AsyncQueryRequest, TaskView
from signalbox.contracts.base import ConfigModel, PublicRequest, WireModel
from signalbox.contracts.documentation import DocumentedModel, field_docstrings
from signalbox.contracts.events import NumberedEvent, TurnEvent
from signalbox.contracts.identity import KeyRecord, Scope
from signalbox.contracts.problem import Problem
from signalbox.contracts.query import QueryReply, QueryRequest
from signalbox.contracts.work import FlowState, Frame

REPLY = {"session_id": "s", "message": "Hi", "status": "success", "turn_id": "t", "agent_id": "shop"}
PROBLEM = {"title": "Not found", "status": 404, "code": "not_found", "detail": "There is no such turn."}


def every_model():
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(signalbox.contracts.__path__, "signalbox.contracts.")
    ]
    found = {member for module in modules for _, member in inspect.getmembers(module, inspect.isclass)
             if issubclass(member, BaseModel) and member.__module__.startswith("signalbox.contracts")}  # fmt: skip
    return sorted(
        found - {DocumentedModel, WireModel, PublicRequest, ConfigModel}, key=lambda model: model.__name__
    )


@pytest.mark.parametrize("model", every_model(), ids=lambda model: model.__name__)
def test_every_model_is_of_one_family_described_and_has_a_schema(model):
    assert sum(issubclass(model, family) for family in (WireModel, PublicRequest, ConfigModel)) == 1
    assert model.__doc__
    assert model.model_json_schema()


def test_fields_are_described_by_their_docstrings():
    class Base(WireModel):
        """A base."""

        first: int
        """Of the base."""

    class Derived(Base):
        """A derived model."""

        second: str = Field(description="Given.")
        """Not this."""
        third: KeyRecord | None = None
        """Of the
        derived one."""
        fourth: int = Field(alias="fourthName")
        """Under another name."""
        fifth: int = 0

    described = {
        name: field.get("description") for name, field in Derived.model_json_schema()["properties"].items()
    }
    assert described == {
        "first": "Of the base.",
        "second": "Given.",
        "third": "Of the\nderived one.",
        "fourthName": "Under another name.",
        "fifth": None,
    }
    assert set(field_docstrings(Base)) == {"first"}


def test_public_requests_refuse_unknown_fields_and_name_them():
    with pytest.raises(ValidationError) as caught:
        QueryRequest.model_validate(
            {"message": "hi", "session_id": "s", "mesage": "x", "attachments": [{"ur": "y"}]}
        )
    assert {error["loc"] for error in caught.value.errors()} == {("mesage",), ("attachments", 0, "ur")}


def test_messages_between_services_ignore_what_a_newer_release_adds():
    reply = QueryReply.model_validate({**REPLY, "later": 1, "decision": {"stage": "rule", "later": 2}})
    assert reply.decision is not None
    assert "later" not in reply.model_dump_json()


@pytest.mark.parametrize(
    "request_body",
    [
        {"session_id": "s"},
        {"message": "", "session_id": "s"},
        {"message": "hi", "session_id": ""},
        {"message": "hi", "session_id": "a\nb"},
        {"message": "hi", "session_id": "x" * 201},
        {"message": "hi", "session_id": "s", "language": "english please"},
        {"message": "hi", "session_id": "s", "workflow_id": "../x"},
        {"message": "x" * 100_001, "session_id": "s"},
        {"message": "hi", "session_id": "s", "metadata": {str(n): n for n in range(51)}},
    ],
)
def test_bad_queries_are_refused(request_body):
    with pytest.raises(ValidationError):
        QueryRequest.model_validate(request_body)


def test_the_smallest_query_and_an_async_one():
    assert QueryRequest.model_validate({"message": "你好", "session_id": "会话-1"}).attachments == []
    query = AsyncQueryRequest.model_validate(
        {"message": "hi", "session_id": "s", "webhook": {"url": "https://x"}}
    )
    assert query.webhook is not None


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (
            "start",
            {
                "turn_id": "t",
                "session_id": "s",
                "workflow_id": "w",
                "config_hash": "0" * 64,
                "language": "en",
            },
        ),
        ("intent", {"stage": "rule", "took_us": 5, "target": {"kind": "flow", "id": "f"}}),
        ("tool_call", {"call_id": "c", "tool": "t", "arguments": {}}),
        ("tool_result", {"call_id": "c", "tool": "t", "ok": True, "took_ms": 1.5}),
        ("text", {"delta": "Hi"}),
        ("usage", {"model": "demo"}),
        ("complete", REPLY),
        ("error", PROBLEM),
    ],
)
def test_events_are_told_apart_by_type_and_survive_json(kind, data):
    event = TypeAdapter(TurnEvent).validate_python({"type": kind, "data": data})
    assert event.type == kind
    numbered = NumberedEvent(id=1, event=event)
    assert NumberedEvent.model_validate_json(numbered.model_dump_json()) == numbered


def test_the_names_of_the_public_reply_are_kept():
    fields = {"session_id", "message", "status", "turn_id", "parts"}
    assert fields <= set(QueryReply.model_fields)
    assert {"task_id", "status", "result"} <= set(TaskView.model_fields)
    with pytest.raises(ValidationError):
        QueryReply.model_validate({**REPLY, "status": "ok"})


def test_frames_end_in_a_result_or_an_error():
    frames = TypeAdapter(Frame)
    nested = {"flow": "f", "step": 2, "parents": [{"flow": "outer", "step": 0}]}
    result = {"frame": "flow_result", "result": {"status": "waiting", "message": "Which?", "state": nested}}
    frame = frames.validate_python(result)
    assert frame.frame == "flow_result"
    assert frame.result.state.parents == [FlowState(flow="outer", step=0)]
    assert frames.validate_python({"frame": "error", "problem": PROBLEM}).problem == Problem(**PROBLEM)
    with pytest.raises(ValidationError):
        frames.validate_python({"frame": "event", "event": {"type": "complete", "data": REPLY}})


def test_problem_details_carry_the_members_of_rfc_9457():
    problem = Problem.model_validate(PROBLEM)
    assert {"type", "title", "status", "detail", "instance"} <= set(Problem.model_fields)
    assert problem.type == "about:blank"
    assert problem.errors == []


def test_a_principal_has_what_its_key_was_given():
    record = KeyRecord(
        key_id="k1", tenant="acme", name="web", secret_sha256="0" * 64, scopes=frozenset({Scope.QUERY}),
        workflows=frozenset({"shop"}), created_at=0, expires_at=100,
    )  # fmt: skip
    principal = record.principal()
    assert (principal.tenant, principal.subject) == ("acme", "key:k1")
    assert principal.may(Scope.QUERY)
    assert not principal.may(Scope.CONFIG_WRITE)
    assert principal.may_use("shop")
    assert not principal.may_use("other")
    assert record.usable_at(99)
    assert not record.usable_at(100)
    assert not record.model_copy(update={"revoked_at": 5}).usable_at(6)

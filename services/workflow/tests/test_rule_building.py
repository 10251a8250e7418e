"""Building rules when a snapshot is published, and loading what was built."""

import json
import sys

import pytest
from support.admin_stand_in import hash_of

from signalbox.common.kept_files import KeptFiles
from signalbox.common.rules import DEFAULT_MEMORY, DatabaseUnusable, Re2Engine, ServingEngine
from signalbox.common.rules.hyperscan_rules import this_platform
from signalbox.contracts.admin import BuildRequest, SnapshotDocument
from signalbox.workflow.build import Builder
from signalbox.workflow.snapshot import SnapshotCompiler


def request(rules=160, pattern="order number{n}x (?P<n>[0-9]+)", name="W"):
    intents = [
        {
            "id": f"i{n}",
            "when": {"patterns": [pattern.format(n=n)], "keywords": [f"退款{n}号"]},
            "then": {"reply": "x"},
        }
        for n in range(rules // 2)
    ]
    text = json.dumps(
        {"schema_version": "1", "workflow_id": "w", "name": name, "languages": ["en"], "intents": intents}
    )
    return BuildRequest(tenant="acme", config_hash=hash_of(text), document=text)


def fetched(asked, reply):
    return SnapshotDocument(
        config_hash=asked.config_hash, tenant="acme", document=asked.document, artefacts=reply.artefacts
    )


async def test_many_rules_are_built_to_a_database_which_is_loaded_and_not_compiled(
    monkeypatch, caplog, tmp_path
):
    pytest.importorskip("hyperscan")
    asked = request()
    reply = await Builder(DEFAULT_MEMORY, 60, KeptFiles(tmp_path, 2**20)).build(asked)
    assert (reply.errors, reply.warnings, reply.report) == ([], [], {"rules": 160})
    (artefact,) = reply.artefacts
    assert artefact.builder.startswith("hyperscan/")
    assert artefact.platform == this_platform()

    def compiled(*_):
        raise AssertionError("compiled anew")

    monkeypatch.setattr(Re2Engine, "compile", compiled)
    rules = SnapshotCompiler(ServingEngine(), {})(fetched(asked, reply)).rules
    hit = rules.match("about order number7x 99")
    assert (hit.intent.id, hit.parameters) == ("i7", {"n": "99"})
    assert rules.match("我要退款12号").intent.id == "i12"
    assert rules.match("nothing") is None
    assert caplog.text == ""


async def test_a_database_that_takes_too_long_is_done_without(monkeypatch, tmp_path):
    # The first process sleeps past its time, the second, which builds no database, does not.
    slow = (
        "import sys, time\n"
        "'--without-database' in sys.argv or time.sleep(60)\n"
        "from signalbox.workflow.build_process import main\n"
        "main()"
    )
    monkeypatch.setattr("signalbox.workflow.build._COMMAND", (sys.executable, "-c", slow))
    asked = request()
    reply = await Builder(DEFAULT_MEMORY, 8, KeptFiles(tmp_path, 2**20)).build(asked)
    assert reply.errors == []
    assert [(warning.code, "8 s" in warning.detail) for warning in reply.warnings] == [
        ("rules_without_database", True)
    ]
    assert reply.artefacts[0].builder.startswith("google-re2/")
    snapshot = SnapshotCompiler(ServingEngine(), {})(fetched(asked, reply))
    assert snapshot.rules.match("order number7x 99").intent.id == "i7"


async def test_a_compiler_that_dies_makes_the_build_fail_in_words(monkeypatch, tmp_path):
    monkeypatch.setattr("signalbox.workflow.build._COMMAND", (sys.executable, "-c", "import os; os.abort()"))
    reply = await Builder(DEFAULT_MEMORY, 60, KeptFiles(tmp_path, 2**20)).build(request())
    assert [error.code for error in reply.errors] == ["build_failed"]


async def test_many_rules_that_do_not_fit_are_an_error_of_the_build(tmp_path):
    reply = await Builder(64 * 1024, 60, KeptFiles(tmp_path, 2**20)).build(
        request(pattern="(x{{1,200}}y{{1,200}}){{3}}{n}")
    )
    assert [error.code for error in reply.errors] == ["rules_too_large"]


async def test_a_damaged_artefact_is_not_used(caplog, tmp_path):
    asked = request()
    reply = await Builder(DEFAULT_MEMORY, 60, KeptFiles(tmp_path, 2**20)).build(asked)
    damaged = reply.artefacts[0].model_copy(update={"sha256": "0" * 64})
    document = fetched(asked, reply.model_copy(update={"artefacts": [damaged]}))
    assert SnapshotCompiler(ServingEngine(), {})(document).rules.match("order number7x 9").intent.id == "i7"
    assert "damaged" in caplog.text


async def test_what_was_built_of_the_same_rules_is_used_again(monkeypatch, tmp_path):
    pytest.importorskip("hyperscan")
    first = await Builder(DEFAULT_MEMORY, 60, KeptFiles(tmp_path, 2**20)).build(request())
    monkeypatch.setattr("signalbox.workflow.build._COMMAND", (sys.executable, "-c", "import os; os.abort()"))
    # Another process of the service, later; the name is no part of the rules.
    again = Builder(DEFAULT_MEMORY, 60, KeptFiles(tmp_path, 2**20))
    assert await again.build(request(name="renamed")) == first
    # Other rules, and the same ones with another limit, are built anew: here that fails.
    for builder, asked in (
        (again, request(pattern="order {n}")),
        (Builder(DEFAULT_MEMORY // 2, 60, KeptFiles(tmp_path, 2**20)), request()),
    ):
        assert [error.code for error in (await builder.build(asked)).errors] == ["build_failed"]


async def test_a_kept_database_that_is_damaged_is_built_anew(tmp_path):
    pytest.importorskip("hyperscan")
    builder = Builder(DEFAULT_MEMORY, 60, KeptFiles(tmp_path, 2**20))
    first = await builder.build(request())
    (kept,) = tmp_path.iterdir()
    for damaged in (b"", kept.read_bytes()[:-1], b"{}\n"):
        kept.write_bytes(damaged)
        assert await builder.build(request()) == first


async def test_rules_without_a_database_are_not_kept(monkeypatch, tmp_path):
    none = (
        "from signalbox.workflow import build_process\n"
        "build_process.build_database = build_process.build_rules\n"
        "build_process.main()"
    )
    monkeypatch.setattr("signalbox.workflow.compiled_rules.hyperscan_builder", _no_hyperscan)
    monkeypatch.setattr("signalbox.workflow.build._COMMAND", (sys.executable, "-c", none))
    reply = await Builder(DEFAULT_MEMORY, 60, KeptFiles(tmp_path, 2**20)).build(request())
    assert reply.artefacts[0].builder.startswith("google-re2/")
    assert list(tmp_path.iterdir()) == []


def _no_hyperscan():
    raise DatabaseUnusable("Hyperscan is not installed.")

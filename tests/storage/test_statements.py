"""Every statement of every repository, as both databases see it."""

import importlib
import pkgutil
import re
import sqlite3
from types import ModuleType

import psycopg
import pytest
from psycopg.pq import ExecStatus
from sqlalchemy import MetaData

import signalbox
from signalbox.common.storage import Statement
from signalbox.common.storage.migrations import MigrationSource, discover
from signalbox.common.storage.postgres.queries import guarded

SOURCES = {source.service: source for source in discover()}
INSERT = re.compile(r"INSERT INTO (\w+) \(([^)]*)\)")
# Tables whose rows are inserted as one JSON parameter, by statements that are put together from the tables' columns.
INSERTED_AS_ONE = {"llm_gateway": {"ledger_attempts", "ledger_calls", "llm_budgets", "llm_limits"}}
# The types that statements may take and give: src/include/catalog/pg_type.dat.
BOOL, BYTEA, INT8, INT4, TEXT, FLOAT8, NUMERIC, TEXTS, INTS = 16, 17, 20, 23, 25, 701, 1700, 1009, 1016


def modules_of(service: str) -> list[ModuleType]:
    package = f"signalbox.{service}"
    parts = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    return [importlib.import_module(part.name) for part in parts if "migrations" not in part.name]


def statements_of(service: str) -> dict[str, Statement]:
    """The statements at the top of a service's modules, by where they stand."""
    return {
        f"{module.__name__}.{name}": value
        for module in modules_of(service)
        for name, value in vars(module).items()
        if isinstance(value, Statement)
    }


def metadata_of(service: str) -> MetaData:
    found: MetaData = importlib.import_module(f"signalbox.{service}.tables").METADATA
    return found


@pytest.fixture(params=sorted(SOURCES))
def service(request) -> str:
    name: str = request.param
    return name


@pytest.fixture
def source(service) -> MigrationSource:
    return SOURCES[service]


def test_services_with_tables_have_statements(service):
    assert len(statements_of(service)) >= 3
    assert "workflow" in SOURCES


def test_sqlite_prepares_every_statement(service, source, database_supply, tmp_path):
    path = database_supply.url(source, "sqlite", tmp_path).removeprefix("sqlite:///")
    connection = sqlite3.connect(path)
    for name, statement in statements_of(service).items():
        compiled = statement.compiled("sqlite")
        given = dict.fromkeys(compiled.names)
        try:
            described = connection.execute(f"EXPLAIN {compiled.sql}", given)
        except sqlite3.Error as error:
            pytest.fail(f"{name}: {error}: {compiled.sql}")
        assert described.fetchall(), name
    connection.close()


def test_postgresql_prepares_every_statement(service, source, database_supply, tmp_path):
    with psycopg.connect(database_supply.url(source, "postgresql", tmp_path), autocommit=True) as connection:
        for place, (name, statement) in enumerate(statements_of(service).items()):
            compiled = statement.compiled("postgresql")
            for number, sql in enumerate((compiled.sql, guarded(compiled, 1))):
                # Numbers, because PostgreSQL's names end after 63 bytes.
                prepared = connection.pgconn.prepare(f"{place}_{number}".encode(), sql.encode())
                assert prepared.status == ExecStatus.COMMAND_OK, f"{name}: {prepared.error_message}: {sql}"
            described = connection.pgconn.describe_prepared(f"{place}_0".encode())
            types = {described.param_type(index) for index in range(described.nparams)}
            assert types <= {TEXT, INT8, FLOAT8, BYTEA, TEXTS, INTS}, f"{name}: parameters of types {types}"
            assert bool(described.nfields) is compiled.returns_rows, name
            given = {described.ftype(index) for index in range(described.nfields)}
            assert given <= {TEXT, INT8, INT4, FLOAT8, BYTEA, BOOL, NUMERIC}, (
                f"{name}: columns of types {given}"
            )


def test_an_insert_names_every_column_of_its_table(service):
    tables = metadata_of(service).tables
    inserted: dict[str, set[str]] = {}
    for name, statement in statements_of(service).items():
        if (found := INSERT.match(statement.sql.strip())) is not None:
            columns = {column.strip() for column in found[2].split(",")}
            assert columns == {column.name for column in tables[found[1]].columns}, name
            inserted[found[1]] = columns
    assert set(inserted) | INSERTED_AS_ONE.get(service, set()) == set(tables)


def test_no_statement_asks_for_columns_that_it_does_not_know():
    """With ``*`` a process would be given columns that only the next release's tables have."""
    for service in SOURCES:
        for name, statement in statements_of(service).items():
            assert not re.search(r"SELECT \*|\.\*|RETURNING \*", statement.sql), name


def test_modules_that_serve_leave_the_tables_to_the_migrations():
    for service in SOURCES:
        for module in modules_of(service):
            if module.__name__.rpartition(".")[2] != "tables":
                names = {value.__module__ for value in vars(module).values() if hasattr(value, "__module__")}
                assert not any(str(name).startswith("sqlalchemy") for name in names), module.__name__


def test_services_are_found():
    assert signalbox.__path__
    assert {"admin", "llm_gateway", "skills", "workflow"} <= set(SOURCES)

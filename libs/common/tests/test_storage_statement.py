from dataclasses import dataclass

import pytest
from support.scratch_tables import ADVANCE, ADVANCE_RETURNING, GET_ACCOUNT, SOME_ACCOUNTS, SOME_ENTRIES

from signalbox.common.storage import Statement, assigned, columns_of, insert_into, listed


def postgresql(sql):
    return Statement(sql).compiled("postgresql")


def sqlite(sql):
    return Statement(sql).compiled("sqlite")


def test_postgresql_numbers_its_placeholders():
    compiled = ADVANCE.compiled("postgresql")
    assert compiled.sql == (
        "UPDATE accounts SET version = version + 1 WHERE tenant = $1 AND id = $2 AND version = $3"
    )
    assert compiled.names == ("of_tenant", "of_id", "seen")
    assert not compiled.returns_rows


def test_sqlite_takes_the_text_as_it_is():
    compiled = ADVANCE.compiled("sqlite")
    assert compiled.sql == ADVANCE.sql
    assert compiled.names == ("of_tenant", "of_id", "seen")


def test_a_parameter_used_twice_is_sent_once():
    sql = "SELECT id FROM accounts WHERE id = :word OR email = :word OR tenant = :other"
    assert postgresql(sql).sql == "SELECT id FROM accounts WHERE id = $1 OR email = $1 OR tenant = $2"
    assert postgresql(sql).names == sqlite(sql).names == ("word", "other")


@pytest.mark.parametrize(
    "kept",
    [
        "SELECT ':no', 'it''s :no', \"col:no\" FROM t",
        "SELECT a::bigint FROM t",
        "SELECT a FROM t WHERE a LIKE 'x%' AND b % 7 = 0",
        "SELECT a /* :no */ FROM t -- :no",
    ],
)
def test_what_is_no_placeholder_stays_as_it_is(kept):
    for compiled in (postgresql(kept), sqlite(kept)):
        assert compiled.sql == kept
        assert compiled.names == ()


def test_a_placeholder_may_be_cast():
    assert postgresql("SELECT :a::bigint").sql == "SELECT $1::bigint"


def test_parts_of_one_dialect():
    sql = "SELECT a FROM t /*postgresql FOR UPDATE OF t*/ /*sqlite LIMIT :most*/ -- '/*sqlite no*/"
    assert postgresql(sql).sql.split("--")[0].split() == [
        "SELECT",
        "a",
        "FROM",
        "t",
        "FOR",
        "UPDATE",
        "OF",
        "t",
    ]
    assert postgresql(sql).names == ()
    assert sqlite(sql).sql.split("--")[0].split() == ["SELECT", "a", "FROM", "t", "LIMIT", ":most"]
    assert sqlite(sql).names == ("most",)
    assert sqlite("SELECT '/*postgresql x*/'").sql == "SELECT '/*postgresql x*/'"


@pytest.mark.parametrize(
    ("sql", "returns_rows"),
    [
        ("select 1", True),
        ("SELECT a FROM t FOR UPDATE", True),
        ("VALUES (1)", True),
        ("WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x", True),
        ("WITH x AS (SELECT 1) UPDATE t SET a = (SELECT 2)", False),
        ("INSERT INTO t SELECT a FROM u", False),
        ("INSERT INTO t (a) VALUES (:a)", False),
        ("INSERT INTO t (a) VALUES (:a) ON CONFLICT (a) DO UPDATE SET a = 1 RETURNING a", True),
        ("DELETE FROM t WHERE a = 'RETURNING (' OR returning_id = 1", False),
        ("CREATE TABLE t (a text)", False),
    ],
)
def test_whether_a_statement_gives_rows(sql, returns_rows):
    assert postgresql(sql).returns_rows is returns_rows
    assert sqlite(sql).returns_rows is returns_rows


def test_reads_and_returning_are_told_apart_from_changes():
    assert GET_ACCOUNT.compiled("sqlite").returns_rows
    assert ADVANCE_RETURNING.compiled("sqlite").returns_rows


def test_compiled_once():
    assert ADVANCE.compiled("sqlite") is ADVANCE.compiled("sqlite")


def test_a_missing_value_is_named():
    with pytest.raises(TypeError, match="no value for of_id, seen in: UPDATE accounts"):
        ADVANCE.compiled("sqlite").bind({"of_tenant": "t"})


def test_lists_are_one_parameter():
    assert "id = ANY (CAST($1 AS text[]))" in SOME_ACCOUNTS.compiled("postgresql").sql
    assert "seq = ANY (CAST($1 AS bigint[]))" in SOME_ENTRIES.compiled("postgresql").sql
    assert "id IN (SELECT value FROM json_each(:ids))" in SOME_ACCOUNTS.compiled("sqlite").sql


def test_the_wording_that_follows_from_columns():
    @dataclass
    class Pair:
        left: str
        right: int

    names = columns_of(Pair)
    assert names == ("left", "right")
    assert listed(names) == "left, right"
    assert listed(names, "p") == "p.left, p.right"
    assert insert_into("pairs", names) == "INSERT INTO pairs (left, right) VALUES (:left, :right)"
    assert assigned(names) == "left = :new_left, right = :new_right"

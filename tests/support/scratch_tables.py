"""Tables and statements of the storage tests, as a repository would write them."""

import sqlalchemy as sa

from signalbox.common.storage import Statement, any_of, insert_into, listed

METADATA = sa.MetaData()

ACCOUNTS = sa.Table(
    "accounts",
    METADATA,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("email", sa.Text),
    sa.Column("note", sa.Text),
)

ENTRIES = sa.Table(
    "entries",
    METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text),
    sa.Column("amount", sa.BigInteger),
    sa.Column("ratio", sa.Float),
    sa.Column("raw", sa.LargeBinary),
)

_THIS = "tenant = :of_tenant AND id = :of_id"
_NEXT = "UPDATE accounts SET version = version + 1"
_ENTRY = tuple(column.name for column in ENTRIES.columns)

ADD_ACCOUNT = Statement("INSERT INTO accounts (tenant, id, version, email) VALUES (:tenant, :id, 0, :email)")
ADVANCE = Statement(f"{_NEXT} WHERE {_THIS} AND version = :seen")
ADVANCE_RETURNING = Statement(f"{_NEXT} WHERE {_THIS} AND version = :seen RETURNING id, version")
ADVANCE_ALL = Statement(f"{_NEXT} WHERE tenant = :of_tenant RETURNING id")
GET_ACCOUNT = Statement(f"SELECT id, version, email FROM accounts WHERE {_THIS}")
SOME_ACCOUNTS = Statement(f"SELECT id FROM accounts WHERE {any_of('id', 'ids')} ORDER BY id")

ADD_ENTRY = Statement(insert_into("entries", _ENTRY))
ADD_BODY = Statement(insert_into("entries", ("seq", "body")))
ALL_ENTRIES = Statement(f"SELECT {listed(_ENTRY)} FROM entries ORDER BY seq")
SOME_ENTRIES = Statement(f"SELECT seq FROM entries WHERE {any_of('seq', 'seqs', 'bigint')} ORDER BY seq")
COUNT_ENTRIES = Statement("SELECT count(*) AS number, sum(amount) AS total FROM entries")

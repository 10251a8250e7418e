"""The FAQ's full text on PostgreSQL: a `tsvector` of our own terms, with a GIN index.

PostgreSQL's parsers cut text at spaces, and Chinese has none; so the terms are made here, the same as for SQLite
(`search.py`), and no parser of the server's, whose reading depends on its locale, sees them. The server's `ts_rank`
knows nothing of how rare a term is; each term's weight is kept in a table beside the entries.
"""

import asyncio
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from signalbox_example_shop.faq import Language
from signalbox_example_shop.faq_entries import FAQ
from signalbox_example_shop.search import search_terms

_TABLES = """
CREATE TABLE IF NOT EXISTS shop_faq (
    faq_id text NOT NULL, language text NOT NULL, question text NOT NULL, answer text NOT NULL,
    terms tsvector NOT NULL,
    PRIMARY KEY (faq_id, language)
);
CREATE INDEX IF NOT EXISTS shop_faq_terms ON shop_faq USING gin (terms);
CREATE TABLE IF NOT EXISTS shop_faq_weights (
    language text NOT NULL, term text NOT NULL, weight double precision NOT NULL,
    PRIMARY KEY (language, term)
);
"""
_ENTRY = """
INSERT INTO shop_faq (faq_id, language, question, answer, terms)
VALUES (%s, %s, %s, %s, array_to_tsvector(%s::text[]))
"""
# Inverse document frequency as BM25 has it (Robertson and Zaragoza, 2009, section 3.4.2).
_WEIGHTS = """
INSERT INTO shop_faq_weights (language, term, weight)
SELECT language, lexeme, ln(1 + (total - entries + 0.5) / (entries + 0.5))
FROM (
    SELECT language, lexeme, count(*) AS entries FROM shop_faq, unnest(terms) GROUP BY language, lexeme
) AS used
JOIN (SELECT language, count(*) AS total FROM shop_faq GROUP BY language) AS known USING (language)
"""
_SEARCH = """
SELECT faq_id
FROM shop_faq JOIN shop_faq_weights USING (language)
WHERE language = %(language)s AND term = ANY(%(terms)s::text[])
  AND terms @@ %(any)s::tsquery AND terms @@ quote_literal(term)::tsquery
GROUP BY faq_id, terms
ORDER BY sum(weight) / (1 + ln(length(terms))) DESC, faq_id
LIMIT %(limit)s
"""
# Any number: two shops that start on one database fill it one after the other.
_LOCK = 7_203_114_885


class PostgresFullText:
    """One connection, opened when it is first needed and again after it was lost; statements run in a thread."""

    def __init__(self, url: str) -> None:
        """Search in the database at `url` (libpq's form); nothing is opened yet."""
        self._url = url
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._lock = asyncio.Lock()

    async def search(self, query: str, language: Language, limit: int) -> list[str]:
        """Return the ids of entries that share a term with `query`. Raises `psycopg.Error`."""
        terms = list(dict.fromkeys(search_terms(query)))
        if not terms:
            return []
        async with self._lock:
            return await asyncio.to_thread(self._search, terms, language, limit)

    async def close(self) -> None:
        """Close the connection."""
        async with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _search(self, terms: list[str], language: Language, limit: int) -> list[str]:
        values = {
            "terms": terms,
            # Terms are letters and digits; quoted all the same, so that none is read as an operator.
            "any": " | ".join(f"'{term}'" for term in terms),
            "language": language,
            "limit": limit,
        }
        try:
            return [row[0] for row in self._opened().execute(_SEARCH, values)]
        except psycopg.OperationalError:
            # The server was restarted; a new connection either works or says why not.
            self._connection = None
            return [row[0] for row in self._opened().execute(_SEARCH, values)]

    def _opened(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True, row_factory=tuple_row)
            _fill(self._connection)
        return self._connection


def _fill(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Make the tables what the shop's entries are now, whole or not at all."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        cursor.execute(_TABLES)
        cursor.execute("DELETE FROM shop_faq")
        cursor.execute("DELETE FROM shop_faq_weights")
        cursor.executemany(
            _ENTRY,
            [(*entry, sorted(set(search_terms(f"{entry.question} {entry.answer}")))) for entry in FAQ],
        )
        cursor.execute(_WEIGHTS)

"""What the ledger adds up to: calls and their corrections, in the one statement that all sums are made of."""

from typing import Any, Literal

Amount = Literal["cost", "held", "corrected"]
"""Money columns of ``booked``. ``held`` is what budgets count: the cost, or more where what was used is not known."""

_PART = 1_000_000


def booked(dimensions: str, where: str, *, calls: str = "TRUE", corrections: str = "TRUE") -> str:
    """A subquery with one row for each call and for each correction. All text in it is from its callers' modules.

    Args:
        dimensions: columns of ``calls`` by which is grouped, each ``AS`` a name; may be empty.
        where: a condition on ``calls``, of which the corrections are counted too.
        calls: a further condition on the calls themselves.
        corrections: one on the corrections, which are rows of ``corrections``.
    """
    columns = f"{dimensions}, " if dimensions else ""
    return f"""(
        SELECT {columns} calls.currency AS currency_of, 1 AS calls_of,
            CASE WHEN calls.outcome = 'ok' THEN 0 ELSE 1 END AS failed,
            calls.input_tokens AS given, calls.output_tokens AS taken, calls.cost_pico AS cost,
            coalesce(calls.held_pico, calls.cost_pico) AS held,
            1 - calls.priced AS unpriced, calls.estimated AS estimated, NULL AS corrected
        FROM ledger_calls AS calls WHERE {where} AND {calls}
        UNION ALL
        SELECT {columns} corrections.currency AS currency_of, 0, 0, 0, 0, corrections.cost_pico,
            corrections.cost_pico, 0, 0, corrections.cost_pico
        FROM ledger_calls AS calls JOIN ledger_corrections AS corrections
            ON corrections.tenant = calls.tenant AND corrections.call_id = calls.call_id
        WHERE {where} AND {corrections}
    )"""  # noqa: S608 - text of ours


def of_currency(table: Literal["calls", "corrections"]) -> str:
    """The condition that money of a table is in the currency ``:currency``."""
    return f"{table}.currency = :currency"


def summed(amount: Amount) -> str:
    """The columns that hold the sum of an amount, for ``total``.

    Two, as amounts may be as large as a column can hold: neither database could give their sum as one number.
    """
    return f"sum({amount} / {_PART}) AS {amount}_millions, sum({amount} % {_PART}) AS {amount}_rest"


def largest_first(amount: Amount) -> str:
    """The order of rows by the columns of ``summed``, but for what is less than a millionth of a unit for each row."""
    return f"{amount}_millions DESC, {amount}_rest DESC"


def total(row: dict[str, Any], amount: Amount) -> int | None:
    """The sum of an amount in a row that has the columns of ``summed``; None where nothing has one."""
    millions = row[f"{amount}_millions"]
    return None if millions is None else int(millions) * _PART + int(row[f"{amount}_rest"])

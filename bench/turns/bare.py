"""The bare endpoint: validates the same request and commits one row with the same durability; nothing else.

It is the floor that the cases are measured against: same framework, same server, same database port.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from signalbox.common.ids import new_id, now_ms
from signalbox.common.storage import Statement, Write, insert_into, open_database
from signalbox.contracts.query import QueryReply, QueryRequest

_CREATE = Statement(
    "CREATE TABLE IF NOT EXISTS bare_rows"
    " (id TEXT PRIMARY KEY, session_id TEXT NOT NULL, message TEXT NOT NULL, created_at BIGINT NOT NULL)"
)
_INSERT = Statement(insert_into("bare_rows", ("id", "session_id", "message", "created_at")))


def create_app(url: str) -> FastAPI:
    """The endpoint over a database."""
    database = open_database(url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await database.write(Write(_CREATE))
        yield
        await database.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/api/v1/query")
    async def query(body: QueryRequest) -> QueryReply:
        turn_id = new_id("turn")
        row = {"id": turn_id, "session_id": body.session_id, "message": body.message, "created_at": now_ms()}
        await database.write(Write(_INSERT, row))
        return QueryReply(
            session_id=body.session_id,
            message="We are open from 9 to 17.",
            status="success",
            turn_id=turn_id,
            agent_id="bare",
        )

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


if __name__ == "__main__":
    Path(sys.argv[3]).mkdir(parents=True, exist_ok=True)
    uvicorn.run(create_app(sys.argv[2]), port=int(sys.argv[1]), log_level="warning", access_log=False)

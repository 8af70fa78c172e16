"""A query as CSV, written the obvious way: FastAPI, mysqlclient and the csv module.

PYTHONPATH=bench build/bench-venv/bin/python -m small_peer URL PORT
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from address import server_of


def rows(url: str, query: str) -> Iterator[bytes]:
    mysql, cursors = import_module("MySQLdb"), import_module("MySQLdb.cursors")
    host, port, user, password, database = server_of(url)
    connection = mysql.connect(
        host=host, port=port, user=user, password=password, database=database, cursorclass=cursors.SSCursor
    )
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow([column[0] for column in cursor.description])
        while batch := cursor.fetchmany(1000):
            writer.writerows(batch)
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    finally:
        connection.close()


def application(url: str) -> Any:
    fastapi, responses = import_module("fastapi"), import_module("fastapi.responses")
    app = fastapi.FastAPI()

    def stream(body: dict[str, Any]) -> Any:
        return responses.StreamingResponse(rows(url, body["source"]["query"]), media_type="text/csv")

    app.post("/v1/stream")(stream)
    return app


if __name__ == "__main__":
    import_module("uvicorn").run(application(sys.argv[1]), port=int(sys.argv[2]), log_level="error")

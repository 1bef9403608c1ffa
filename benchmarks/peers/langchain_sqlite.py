"""langchain-community's SQLiteVec: SQLite with the sqlite-vec extension.

Many builds of Python leave loadable extensions out of their `sqlite3`, so the connection comes
from pysqlite3, whose wheel has them, and is handed over as the constructor allows.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.langchain_embeddings import LocalEmbeddings
from benchmarks.peers.protocol import Message


class LangChainSqlite:
    """`add_texts` with all messages of a user, `similarity_search(k=...)`.

    SQLiteVec has no filter, so each user has a table of their own in the one file: the only
    scoping it offers that still finds k results. Our id is in the metadata. Vectors have length
    one, so its L2 distance ranks as cosine does. Its constructor embeds a text to learn the
    dimensions; that is a user's first store.
    """

    def __init__(self, path: Path) -> None:
        sqlite: Any = importlib.import_module("pysqlite3")
        self._vectorstores: Any = importlib.import_module(
            "langchain_community.vectorstores.sqlitevec"
        )
        connection: Any = sqlite.connect(str(path))
        connection.row_factory = sqlite.Row
        connection.enable_load_extension(True)
        extension: Any = importlib.import_module("sqlite_vec")
        extension.load(connection)
        connection.enable_load_extension(False)
        self._connection = connection
        self._embeddings = LocalEmbeddings()
        self._tables: dict[str, Any] = {}

    def _table(self, user: str) -> Any:
        if user not in self._tables:
            self._tables[user] = self._vectorstores.SQLiteVec(
                table=f"t{user.encode().hex()}",
                connection=self._connection,
                embedding=self._embeddings,
            )
        return self._tables[user]

    async def ingest(self, user: str, messages: Sequence[Message]) -> None:
        self._table(user).add_texts(
            [one.text for one in messages],
            [
                {"id": one.id, "session": one.session, "actor": one.actor, "at": one.at}
                for one in messages
            ],
        )

    async def ask(self, user: str, question: str, limit: int) -> list[str]:
        found = self._table(user).similarity_search(question, k=limit)
        return [str(document.metadata["id"]) for document in found]

    async def close(self) -> None:
        self._connection.close()


async def open_store(folder: Path) -> LangChainSqlite:
    """Open a file in the folder."""
    return LangChainSqlite(folder / "vectors.db")

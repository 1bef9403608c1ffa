"""An index is known until the service says that it is gone."""

from __future__ import annotations

from types import TracebackType

from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.indexes import Indexes
from memlane.errors import TenantNotOnboardedError

__all__ = ("Watched",)


class Watched:
    """Forgets an index that the service says is gone."""

    __slots__ = ("_index", "_indexes")

    def __init__(self, indexes: Indexes, index: Index) -> None:
        self._indexes = indexes
        self._index = index

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, TenantNotOnboardedError):
            self._indexes.drop(self._index)

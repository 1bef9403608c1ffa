"""A query's conditions on columns, and what meets them as candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memlane.columns import cosine_distances, directions_of
from memlane.layout import in_namespace
from memlane.local.codec import to_micros
from memlane.local.sqlite.hot import HotTable, Named, join, take
from memlane.local.sqlite.lanes import NOTHING_SWEPT
from memlane.protocols import Candidates, VectorQuery
from memlane.scope import Reach

__all__ = ("Fields", "as_candidates", "pick")

Mask = npt.NDArray[np.bool_]

Fields = Mapping[int, Mapping[str, Any]]
"""What a filter sees of each record, by its stored place."""


def pick(
    table: HotTable,
    query: VectorQuery,
    reach: Reach,
    fields: Fields,
    *,
    swept: int = NOTHING_SWEPT,
) -> HotTable:
    """Return the rows within reach that meet the query's conditions; the table, if all do.

    Args:
        table: A lane's rows of the query's embedding space.
        query: The conditions.
        reach: The session, and what has expired; the lane is right already.
        fields: Of each record, when the query has a filter.
        swept: The lane's; the table may have been read before.
    """
    masks: list[Mask] = []
    if query.actor is not None:
        masks.append(_named(table.actors, query.actor))
    if not reach.any_session:
        masks.append(_named(table.sessions, reach.scope.session))
    if query.namespace != "/":
        inside = [in_namespace(name, query.namespace) for name in table.namespaces.names]
        masks.append(np.array(inside, dtype=np.bool_)[table.namespaces.codes])
    gone = swept if reach.now is None else max(swept, to_micros(reach.now))
    if gone > NOTHING_SWEPT:
        masks.append(table.expires > gone)
    if query.filter is not None:
        places, records = np.unique(table.order, return_inverse=True)
        met = [query.filter.matches(fields[place]) for place in places.tolist()]
        masks.append(np.array(met, dtype=np.bool_)[records.reshape(-1)])
    if not masks:
        return table
    mask: Mask = np.logical_and.reduce(masks)
    return table if mask.all() else take(table, np.flatnonzero(mask))


def _named(column: Named, name: str | None) -> Mask:
    if name is None:
        return np.less(column.codes, 0)
    code = column.names.index(name) if name in column.names else len(column.names)
    return np.equal(column.codes, code)


def as_candidates(tables: Sequence[HotTable], query: VectorQuery) -> Candidates:
    """Return the rows of one or several lanes as candidates, in stored order.

    Raises:
        EmbeddingSpaceError: The query's vector does not fit the stored ones.
    """
    table = tables[0] if len(tables) == 1 else join(tables)
    return Candidates(
        record_ids=table.ids,
        agents=table.agents,
        parts=table.parts,
        spans=table.spans,
        distances=cosine_distances(table.matrix, query.vector, unit_rows=True),
        terms=table.terms,
        offsets=table.offsets,
        actors=table.actors.codes,
        actor_names=table.actors.names,
        sessions=table.sessions.codes,
        order=table.order,
        occurred=table.occurred,
        complete=True,
        directions=directions_of(table.matrix),
    )

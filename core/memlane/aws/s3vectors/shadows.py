"""What of a user lies in a shadow, where the tenant is on its way to another embedding space.

Whatever is forgotten goes there too: a cut-over that was begun is finished from the shadow, and
would bring it back.
"""

from __future__ import annotations

import logging

from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.indexes import Indexes
from memlane.aws.s3vectors.speakers import unname
from memlane.aws.s3vectors.sweeping import left
from memlane.aws.s3vectors.writing import Writing
from memlane.errors import AccessDeniedError, BackendError, TenantNotOnboardedError
from memlane.scope import Reach

__all__ = ("erase_shadowed", "left_shadowed")

_log = logging.getLogger(__name__)


async def erase_shadowed(
    shadow: Index | None, indexes: Indexes, writing: Writing, *, reach: Reach
) -> int | None:
    """Delete all within reach from a shadow; return how many records that were.

    None where there is no shadow, or none that the host may look into. What cannot be deleted is
    found by reading again.
    """
    if shadow is None:
        return None
    try:
        count = await writing.erase(shadow, reach=reach)
        await unname(shadow, await indexes.described(shadow), reach)
    except (AccessDeniedError, TenantNotOnboardedError):
        indexes.forget(shadow)
        return None
    except BackendError as error:
        _log.warning("what is forgotten stays in a shadow: %s", type(error).__name__)
        return 0
    return count


async def left_shadowed(shadow: Index | None, *, reach: Reach, limit: int) -> list[str] | None:
    """Return ids of which anything is left in a shadow; None as above."""
    if shadow is None:
        return None
    try:
        return await left(shadow, reach=reach, limit=limit)
    except (AccessDeniedError, TenantNotOnboardedError):
        return None

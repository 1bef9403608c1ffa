"""Who may delete an index that a shadow is of, when several take a tenant to another space at once.

An index is deleted by its name, so a request that comes late may meet the new one. Whoever is
about to delete says so in the shadow first, and then looks whether the index is still the old one.
Whoever is finished looks for such a word before the shadow goes, and waits until it was taken back.
Either that word is seen, or the new index is: the only copy is never deleted.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import anyio

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.census import as_put
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.naming import TURN_KEY
from memlane.aws.s3vectors.records import flat_of
from memlane.errors import DeadlineExceededError, TenantNotOnboardedError
from memlane.protocols import Clock

__all__ = ("created_of", "delete_old", "wait_for_others")

DELETE_SECONDS: Final = 8.0
"""How long a deletion may take; nobody knows whether it was done when it takes longer."""

TURN_SECONDS: Final = 20.0
"""After which whoever said that they are about to delete does not do so any more."""

_POLL_SECONDS: Final = 0.25


async def created_of(index: Index) -> Any:
    """Return when an index was made, in the service's own words; None where there is none."""
    try:
        answer = await index.call("GetIndex", {})
    except TenantNotOnboardedError:
        return None
    return answer["index"].get("creationTime")


async def delete_old(
    index: Index, shadow: Index, created: Any, *, dimension: int, clock: Clock
) -> None:
    """Delete an index, if it is still the one that was made then.

    Args:
        index: As somebody sees it who may delete it.
        shadow: What has all of it.
        created: When it was made.
        dimension: Of the shadow.
        clock: When it is.

    Raises:
        DeadlineExceededError: Nobody knows whether it was deleted.
    """
    key = f"{TURN_KEY}{secrets.token_hex(8)}"
    until = clock.now().timestamp() + TURN_SECONDS
    told = {"content": orjson.dumps({"until": until}).decode()}
    await shadow.put([as_put({"key": key, "metadata": told}, dimension=dimension)])
    try:
        with anyio.move_on_after(DELETE_SECONDS) as limit:
            if await created_of(index) == created:
                await index.remove()
        if limit.cancelled_caught:
            raise DeadlineExceededError(
                "the old index was not deleted in time", remedy="call reembed again: it goes on"
            )
    finally:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + DELETE_SECONDS):
            await shadow.delete([key])


async def wait_for_others(shadow: Index, *, clock: Clock) -> bool:
    """Wait until nobody is about to delete an index any more; say whether somebody was."""
    waited = False
    # However far the clocks are apart, nobody is waited for longer than that.
    with anyio.move_on_after(TURN_SECONDS):
        while await _is_taken(shadow, clock.now().timestamp()):
            waited = True
            await anyio.sleep(_POLL_SECONDS)
    return waited


async def _is_taken(shadow: Index, now: float) -> bool:
    keys = [key for key in await shadow.keys() if key.startswith(TURN_KEY)]
    for vector in await shadow.get(keys):
        try:
            if orjson.loads(flat_of(vector)["content"])["until"] > now:
                return True
        except (KeyError, TypeError, ValueError):
            continue
    return False

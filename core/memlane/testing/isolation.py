"""The suite that shows whether tenants, users, agents and sessions are kept apart."""

from __future__ import annotations

from memlane.testing._lies import LiesSuite
from memlane.testing._neighbours import NeighboursSuite

__all__ = ("TenantIsolationConformance",)


class TenantIsolationConformance(NeighboursSuite, LiesSuite):
    """Whether a client over a backend keeps every scope to itself.

    Subclass it under a name that begins with `Test` and give it one fixture called `backend`, as
    for `VectorBackendConformance`; one class may inherit both. Override `make_client` if your
    clients are put together in another way.
    """

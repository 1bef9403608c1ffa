"""memlane for plain services: `connect()`, settings, and the client for synchronous code."""

from memlane_plain.connection import connect, connect_with
from memlane_plain.settings import Settings
from memlane_plain.sync import SyncMemoryClient
from memlane_plain.sync_admin import SyncTenantAdmin

__all__ = ("Settings", "SyncMemoryClient", "SyncTenantAdmin", "connect", "connect_with")

"""The client: every verb of memory, over any backend and embedder, on any loop."""

from memlane.client.client import MemoryClient

__all__ = ("MemoryClient",)

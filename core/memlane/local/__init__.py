"""The engine that needs no service: one file, or memory alone, and a model of its own."""

from memlane.local.memory import InMemoryBackend
from memlane.local.minilm import MiniLMEmbedder
from memlane.local.sqlite import SqliteBackend

__all__ = ("InMemoryBackend", "MiniLMEmbedder", "SqliteBackend")

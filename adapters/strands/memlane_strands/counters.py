"""What fails open must be seen somewhere: these numbers are where."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

__all__ = ("Counting", "PluginCounters")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginCounters:
    """What a plugin has done so far, over all its agents.

    Args:
        recalled: Invocations whose model was shown memories.
        recall_empty: Invocations for which nothing was found.
        recall_failed: Invocations answered without memory because recall failed or took too long.
        written: Records stored.
        write_failed: Records that were to be stored and, as far as is known, were not.
        scope_failed: Invocations without memory because nobody could say whose they were.
    """

    recalled: int = 0
    recall_empty: int = 0
    recall_failed: int = 0
    written: int = 0
    write_failed: int = 0
    scope_failed: int = 0


class Counting:
    """Counts from any thread and any loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = {field.name: 0 for field in fields(PluginCounters)}

    def add(self, **more: int) -> None:
        """Count; the names are those of `PluginCounters`."""
        with self._lock:
            for name, count in more.items():
                self._counts[name] += count

    def snapshot(self) -> PluginCounters:
        """Return the numbers as they are now, all of one moment."""
        with self._lock:
            return PluginCounters(**self._counts)

"""memlane for Strands Agents: a plugin that recalls before the model and remembers afterwards."""

from memlane_strands.counters import PluginCounters
from memlane_strands.plugin import MemlanePlugin

__all__ = ("MemlanePlugin", "PluginCounters")

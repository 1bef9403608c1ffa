"""What `memlane doctor` found about one thing."""

from __future__ import annotations

from dataclasses import dataclass

from memlane import MemlaneError

__all__ = ("Verdict",)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was looked at, what was found, and what to do when that is not right."""

    name: str
    ok: bool
    found: str
    remedy: str | None = None

    @classmethod
    def of(cls, name: str, error: MemlaneError, remedy: str | None = None) -> Verdict:
        """Return what an error says."""
        return cls(name, False, error.reason, error.remedy or remedy)

"""Everything that decides what answers a query lives here; backends only find candidates."""

from memlane.retrieval.context import build_context, estimate_tokens
from memlane.retrieval.retriever import Retriever
from memlane.retrieval.subtrees import check_mode, check_options, merged, subtrees

__all__ = (
    "Retriever",
    "build_context",
    "check_mode",
    "check_options",
    "estimate_tokens",
    "merged",
    "subtrees",
)

"""Generated conversations with questions whose answers are known; nothing is copied from life."""

from benchmarks.corpus.generator import generate
from benchmarks.corpus.model import CATEGORIES, HELD_OUT, POOLED, TUNING, Corpus, Query, Said

__all__ = (
    "CATEGORIES",
    "HELD_OUT",
    "POOLED",
    "TUNING",
    "Corpus",
    "Query",
    "Said",
    "generate",
)

"""Memories as lines of JSON: out of one store, into another."""

from __future__ import annotations

from memlane.portable.exporting import ExportPage, ExportPages
from memlane.portable.importing import Importer, import_lines
from memlane.portable.lines import MAX_LINE_BYTES
from memlane.portable.pages import FilePage, Gatherer, is_header

__all__ = (
    "MAX_LINE_BYTES",
    "ExportPage",
    "ExportPages",
    "FilePage",
    "Gatherer",
    "Importer",
    "import_lines",
    "is_header",
)

"""memlane for LangChain: a retriever over one person's memory."""

from memlane_langchain.retriever import MemlaneRetriever

__all__ = ("MemlaneRetriever",)

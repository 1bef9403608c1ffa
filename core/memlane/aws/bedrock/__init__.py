"""Embedding models of Amazon Bedrock."""

from memlane.aws.bedrock.embedder import BedrockEmbedder
from memlane.aws.bedrock.usage import Usage

__all__ = ("BedrockEmbedder", "Usage")

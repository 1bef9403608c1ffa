"""Memory in Amazon S3 Vectors."""

from memlane.aws.s3vectors.backend import S3VectorsBackend

__all__ = ("S3VectorsBackend",)

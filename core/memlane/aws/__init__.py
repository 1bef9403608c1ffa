"""Amazon S3 Vectors, Bedrock and STS: signed JSON over one connection pool.

The names here are imported when they are asked for: whoever needs a model pays for no store.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from memlane.aws.bedrock import BedrockEmbedder
    from memlane.aws.credentials import (
        AmbientCredentials,
        AssumeRoleCredentials,
        HostCredentials,
        StaticCredentials,
        TenantCredentials,
        TokenVendingCredentials,
    )
    from memlane.aws.plane import DataPlane
    from memlane.aws.s3vectors import S3VectorsBackend
    from memlane.aws.wire import RetryPolicy, Timeouts

__all__ = (
    "AmbientCredentials",
    "AssumeRoleCredentials",
    "BedrockEmbedder",
    "DataPlane",
    "HostCredentials",
    "RetryPolicy",
    "S3VectorsBackend",
    "StaticCredentials",
    "TenantCredentials",
    "Timeouts",
    "TokenVendingCredentials",
)

_HOMES = {
    "BedrockEmbedder": "bedrock",
    "DataPlane": "plane",
    "RetryPolicy": "wire",
    "S3VectorsBackend": "s3vectors",
    "Timeouts": "wire",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(
        importlib.import_module(f"{__name__}.{_HOMES.get(name, 'credentials')}"), name
    )
    globals()[name] = found
    return found

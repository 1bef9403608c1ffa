"""Who fetches credentials, and the caches that keep them: one for the host, one for tenants."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from memlane.aws.credentials.ambient import AmbientCredentials
from memlane.aws.credentials.assumed import AssumeRoleCredentials
from memlane.aws.credentials.host import HostCredentials, HostProvider
from memlane.aws.credentials.static import StaticCredentials
from memlane.aws.credentials.tenant import TenantCredentials

if TYPE_CHECKING:
    from memlane.aws.credentials.index_policy import IndexPolicy, Rights
    from memlane.aws.credentials.vended import TokenVendingCredentials

__all__ = (
    "AmbientCredentials",
    "AssumeRoleCredentials",
    "HostCredentials",
    "HostProvider",
    "IndexPolicy",
    "Rights",
    "StaticCredentials",
    "TenantCredentials",
    "TokenVendingCredentials",
)

# Few need these, and every start would pay for them.
_LATER: Final = {
    "IndexPolicy": "index_policy",
    "Rights": "index_policy",
    "TokenVendingCredentials": "vended",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = found
    return found

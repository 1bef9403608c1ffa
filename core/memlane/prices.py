"""What calls and keeping cost, estimated: an order of magnitude to decide by, and no bill."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from memlane.receipts import CallReceipt, TenantStats

__all__ = ("Prices", "TenantCosts")

_GB: Final = 10**9
_LEAST_PUT: Final = 128 * 1024
_JSON: Final = 3  # a vector as JSON takes about three times its four bytes a component
_FLOAT_BYTES: Final = 4
_KEY_AND_METADATA_BYTES: Final = 1_000
_TENANTS: Final = 10_000
_TOKENS: Final = {
    "amazon.titan-embed-text-v2": 0.02,
    "amazon.nova-2-multimodal-embeddings": 0.135,
    "cohere.embed-english-v3": 0.10,
    "cohere.embed-multilingual-v3": 0.10,
    "cohere.embed-v4": 0.12,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Dollars, list prices of us-east-1 as of November 2026; pass your own where they differ.

    Args:
        storage_gb_month: Of vectors with keys and metadata, per GB and month.
        put_gb: Of what is put, per GB; each request counts as 128 KiB at least.
        query_million: Of QueryVectors, per million, without what large indexes add.
        request_thousand: Of other requests to S3 Vectors, per thousand.
        token_million: Of embedding, per million tokens, by how a model's name begins.
    """

    storage_gb_month: float = 0.06
    put_gb: float = 0.20
    query_million: float = 2.50
    request_thousand: float = 0.055
    token_million: dict[str, float] = field(default_factory=lambda: dict(_TOKENS))

    def tokens(self, count: int, *, space: str) -> float | None:
        """Return what embedding costs; None for a model whose price is not known."""
        for model, price in self.token_million.items():
            if space.startswith(model):
                return count * price / 1_000_000
        return None

    def call(self, receipt: CallReceipt, *, space: str) -> float:
        """Return what a call costs; 0 for a part whose price is not known."""
        counts = receipt.operations
        puts = counts.get("PutVectors", 0)
        queries = counts.get("QueryVectors", 0)
        others = sum(
            count
            for operation, count in counts.items()
            if operation not in {"PutVectors", "QueryVectors", "InvokeModel", "AssumeRole"}
        )
        put = max(receipt.bytes_sent / _JSON, puts * _LEAST_PUT) if puts else 0
        return (
            put / _GB * self.put_gb
            + queries / 1_000_000 * self.query_million
            + others / 1_000 * self.request_thousand
            + (self.tokens(receipt.tokens, space=space) or 0.0)
        )

    def month(self, stats: TenantStats, *, dimensions: int) -> float:
        """Return what keeping a tenant's memory costs a month, reading and writing aside."""
        vector = dimensions * _FLOAT_BYTES + _KEY_AND_METADATA_BYTES
        stored = stats.vectors * vector + stats.text_bytes
        return stored / _GB * self.storage_gb_month


class TenantCosts:
    """Adds up what each tenant's calls cost: pass it as `on_receipt`.

    Args:
        space: Id of the embedding space, whose model has a price.
        prices: What things cost.
    """

    def __init__(self, *, space: str, prices: Prices | None = None) -> None:
        self._space = space
        self._prices = prices or Prices()
        self._lock = threading.Lock()
        self._dollars: OrderedDict[str | None, float] = OrderedDict()

    def __call__(self, receipt: CallReceipt) -> None:
        """Add what a call cost."""
        dollars = self._prices.call(receipt, space=self._space)
        with self._lock:
            self._dollars[receipt.tenant] = self._dollars.get(receipt.tenant, 0.0) + dollars
            self._dollars.move_to_end(receipt.tenant)
            if len(self._dollars) > _TENANTS:
                self._dollars.popitem(last=False)

    def of(self, tenant: str | None) -> float:
        """Return the dollars that a tenant's calls cost since this was made."""
        with self._lock:
            return self._dollars.get(tenant, 0.0)

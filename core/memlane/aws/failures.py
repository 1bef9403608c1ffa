"""What it means that no whole answer came, in words that quote no request."""

from __future__ import annotations

import ssl
from typing import Final, Literal

__all__ = ("NoAnswerError", "broken_tls", "named", "turned_away")

# What proxies say of a server that cannot be reached now.
_PASSING: Final = range(500, 600)

Failure = Literal["connect", "stale", "lost", "timeout", "busy", "large", "hopeless"]


class NoAnswerError(Exception):
    """No whole answer came. What that means for the call is not decided here.

    Args:
        failure: "connect": nothing was sent. "stale": a connection kept from earlier was closed
            before any of the answer came. "lost", "timeout": the request may have been done.
            "busy": its time was up before there was a place for it. "large": more came than is
            read. "hopeless": it would be the same again.
        text: What happened, in a few words.
        remedy: What helps against just that.
    """

    def __init__(self, failure: Failure, text: str, remedy: str | None = None) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text
        self.remedy = remedy


def turned_away(status: int) -> NoAnswerError:
    """Return what it means that a proxy answered by itself."""
    return NoAnswerError(
        "connect" if status in _PASSING else "hopeless",
        f"the proxy answered {status}",
        "check the proxy's URL, and whether it lets this host through",
    )


def broken_tls(error: ssl.SSLError) -> NoAnswerError:
    """Return what a failed handshake means: mostly that it will fail again."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoAnswerError(
            "hopeless",
            f"the server's certificate is not trusted: {error.verify_message}",
            "give ca_bundle the certificates of whoever inspects the traffic, and check this "
            "machine's clock",
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return NoAnswerError("connect", "the server ended the TLS handshake")
    return NoAnswerError(
        "hopeless",
        "no TLS with the server",
        "check whether scheme and port of the endpoint URL belong together",
    )


def named(error: BaseException | None) -> str:
    """Return what broke a connection; None is its end, in good order."""
    if error is None:
        return "the connection was closed"
    # An OSError's own text is an address and an errno's meaning; others may quote the request.
    said = error.strerror if isinstance(error, OSError) else None
    return said or type(error).__name__

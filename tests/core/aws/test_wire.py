"""What is logged of a request names it and shows nobody's memories."""

from memlane.aws.wire import Reply, Request


def test_a_request_shows_what_it_is() -> None:
    """Tracebacks with local variables print these."""
    request = Request("s3vectors", "PutVectors", "/PutVectors", b"a secret", headers=(("a", "b"),))
    assert repr(request) == "<Request s3vectors PutVectors>"


def test_a_reply_shows_how_long_it_is() -> None:
    """And whether it is one at all."""
    assert repr(Reply(200, {"a": "b"}, b"a secret")) == "<Reply 200, 8 bytes>"

"""What is private is found by its shape, what only looks so is left, and no text takes for ever."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane import RedactedError, RegexRedactor, ValidationError
from memlane.protocols import Redactor
from memlane.sensitive import FINDERS

AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq98Dxk\nq3l0JmGvT2/6sQ==\n"
    "-----END RSA PRIVATE KEY-----"
)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFU"

FOUND: dict[str, tuple[str, ...]] = {
    "email": (
        "ada@example.com",
        "o'brien+travel@mail.example.co.uk",
        "j\u00f6rg@m\u00fcller.de",
        "a@b.io",
        f"{'x' * 120}@example.org",
        "ada@xn--mller-kva.xn--p1ai",
    ),
    "phone": (
        "+49 30 123456",
        "+49 (0) 30 / 123 456",
        "+1 (555) 123-4567",
        "+15551234567",
        "+44 20 7946 0958",
        "0049 30 123456",
        "(555) 123-4567",
        "555-123-4567",
        "555.123.4567",
        "1-800-555-1234",
        "020 7946 0958",
        "(020) 7946 0958",
        "07700900123",
        "030/123 45 67",
        "0171 1234567",
        "01 23 45 67 89",
        "03-1234-5678",
        "98765 43210",
        "138 1234 5678",
        "(11) 91234-5678",
        "11 91234-5678",
        "+\u0664\u0669 30 123456",
    ),
    "card": (
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5555 5555 5555 4444",
        "3782 822463 10005",
        "30569309025904",
        "6011111111111117",
        "3530111333300000",
        "\uff14111111111111111",
    ),
    "aws_key": ("AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", AWS_SECRET),
    "token": (
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "github_pat_11ABCDEFG0123456789_abcdefghij",
        "glpat-abcdefghij0123456789",
        "xoxb-123456789012-abcdefABCDEF",
        "sk-proj-abcdefgh0123456789XYZ",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        JWT,
    ),
    "private_key": (PEM, PEM.replace("\n", "\\n"), PEM.replace("RSA ", "")),
}
NAMED = (
    ("Authorization: Bearer abc123def456ghi7", "Authorization: Bearer [token]"),
    ("api_key=abcd1234efgh", "api_key=[token]"),
    ("MY_API_KEY: 'zzzz9999yyyy'", "MY_API_KEY: '[token]'"),
    ('{"client_secret": "q9w8e7r6t5"}', '{"client_secret": "[token]"}'),
    ("?token=abcd1234efgh&page=2", "?token=[token]&page=2"),
    ("password: hunter2", "password: [token]"),
    ("api_key=abcdefghijKLMNOPQRSTuvwxyz", "api_key=[token]"),
    ("postgres://ada:s3same@db.internal/x", "postgres://ada:[token]/x"),
    ("call me at 5551234567", "call me at [phone]"),
    ("mobile: 12 34 56 78", "mobile: [phone]"),
    ("(ada@example.com)", "([email])"),
    ("'ada@example.com'", "'[email]'"),
    ("card 12 4111 1111 1111 1111 99", "card 12 [card] 99"),
    ("020 7946 0958 12", "[phone] 12"),
    ("on 2024-01-02 555-123-4567", "on 2024-01-02 [phone]"),
    (f"aws_secret_access_key={AWS_SECRET}", "aws_secret_access_key=[aws_key]"),
    ("4111111111111111@example.com", "[card]"),
)
LEFT = (
    "on 2024-01-02 at 10:30, on 01.02.2024 10:30, on 05 06 2024 10:30",
    "version 1.2.3, v10.15.7, Python 3.11, 2.0.0-rc.1",
    "10.0.0.1 and 192.168.100.200",
    "order 234-567-8901, ticket no 555-123-4567, invoice 0171 1234567, #555-123-4567",
    "1700000000 and 1700000000000 are seconds and milliseconds",
    "from 09:30 to 10:45, 08:15, 12:05 06 07 08 09",
    "1 200 000 EUR, 12,345,678.90, 3.141592653589793, 0.4111111111111111",
    "ISBN 978-3-16-148410-0",
    "550e8400-e29b-41d4-a716-446655440000",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "4111 1111 1111 1112 has a wrong digit, 1234567890123456 is nobody's",
    "core/memlane/aws/bedrock/embedding/model/Name",
    "root@localhost, @ada, foo@1.2.3, a@b, 5 @ 3.50",
    "bearer responsibilities, basic understanding of everything",
    "the token: expired, password: required, secret: chocolate",
    "Call on 2024-01-02 at 5, call 911",
    "sk-learn-something-new-every-day",
    "token = credentials.session_token, secret=secrets.token_urlsafe",
    "-----BEGIN CERTIFICATE-----",
    "https://example.com:8080/a@b",
)


async def text_of(text: str, **settings_: Any) -> str:
    return (await RegexRedactor(**settings_).redact(text)).text


@pytest.mark.parametrize(
    ("kind", "private"), [(kind, each) for kind, several in FOUND.items() for each in several]
)
@pytest.mark.parametrize("around", ["{}", "Note: {}.", "x {}, y", "({})", "{}\nnext", '"{}"'])
async def test_what_is_found(kind: str, private: str, around: str) -> None:
    """Each kind in each of its forms, alone and in a sentence, and nothing beside it."""
    text = around.format(private)
    found = await RegexRedactor().redact(text)
    assert found.text == around.format(f"[{kind}]")
    [finding] = found.findings
    assert (finding.kind, text[finding.start : finding.end]) == (kind, private)
    assert found.tags == ()


@pytest.mark.parametrize(("text", "expected"), NAMED)
async def test_what_is_found_by_what_stands_beside_it(text: str, expected: str) -> None:
    """Words before a value tell what it is, and stay."""
    assert await text_of(text) == expected


@pytest.mark.parametrize("text", LEFT)
async def test_what_only_looks_so(text: str) -> None:
    """Dates, versions, addresses, amounts, orders and hashes are left as they are."""
    assert await text_of(text) == text


async def test_long_texts_too() -> None:
    """Long ones are searched on a thread: with the same findings, errors and labels."""
    text = "word " * 2_000 + "ada@example.com"
    found = await RegexRedactor(action={"email": "tag"}).redact(text + " 4111111111111111")
    assert found.text == text + " [card]"
    assert found.tags == ("pii:email",)
    with pytest.raises(RedactedError, match="email"):
        await RegexRedactor(action="block").redact(text)


async def test_a_key_that_is_cut_off() -> None:
    """Of a private key without an end what is there goes, and the words after it stay."""
    cut = PEM.partition("==")[0]
    assert await text_of(f"{cut}\nis cut off") == "[private_key]\nis cut off"
    assert await text_of(f"{cut}\n\nand more") == "[private_key]\n\nand more"
    assert await text_of(f"{PEM} between {PEM}") == "[private_key] between [private_key]"


async def test_no_text_is_worse_redacted_again() -> None:
    """What is redacted stays as it is: placeholders are nothing private."""
    text = " and ".join([*(each for several in FOUND.values() for each in several), *dict(NAMED)])
    once = await text_of(text)
    assert await text_of(once) == once
    for several in FOUND.values():
        assert not any(private in once for private in several)


async def test_blocked() -> None:
    """A kind that is blocked is named in the error, and what was found is not."""
    redactor = RegexRedactor(action={"card": "block"})
    assert (await redactor.redact("ada@example.com")).text == "[email]"
    with pytest.raises(RedactedError, match="card") as caught:
        await redactor.redact("my card is 4111 1111 1111 1111")
    assert "4111" not in str(caught.value)
    assert caught.value.remedy


async def test_tagged() -> None:
    """A kind that is tagged stays in the text, and the record says what it holds."""
    redactor = RegexRedactor(action="tag")
    text = "ada@example.com, api_key=abcd1234efgh"
    found = await redactor.redact(text)
    assert found.text == text
    assert sorted(found.tags) == ["pii:email", "secret:token"]
    assert {one.kind for one in found.findings} == {"email", "token"}
    mixed = RegexRedactor(action={"email": "tag"})
    assert (await mixed.redact(text)).text == "ada@example.com, api_key=[token]"


async def test_chosen_kinds() -> None:
    """Only what was asked for is looked for."""
    text = "ada@example.com 4111111111111111"
    assert await text_of(text, kinds=["card"]) == "ada@example.com [card]"
    assert await text_of(text, kinds=[]) == text


async def test_patterns_of_ones_own() -> None:
    """They come first, and what matches nothing is nothing."""
    patterns: dict[str, str | re.Pattern[str]] = {
        "badge": r"\bB-\d{4}\b",
        "maybe": re.compile("(?i)project x*"),
    }
    found = await RegexRedactor(patterns=patterns).redact("B-1234 of PROJECT X; ada@example.com")
    assert found.text == "[badge] of [maybe]; [email]"
    assert await text_of("abc", patterns={"empty": "x*"}) == "abc"
    assert await text_of("B-1 ada@example.com", patterns={"all": "B.*"}) == "[all]"


@pytest.mark.parametrize(
    "settings_",
    [
        {"kinds": "email"},
        {"kinds": ["email", "iban"]},
        {"kinds": 5},
        {"action": "hide"},
        {"action": {"email": "hide"}},
        {"action": {"iban": "block"}},
        {"kinds": ["email"], "action": {"card": "block"}},
        {"patterns": {"email": "x"}},
        {"patterns": {"Badge": "x"}},
        {"patterns": {"badge": "("}},
        {"patterns": {"badge": re.compile(b"x")}},
        {"patterns": {"badge": 5}},
    ],
)
def test_refused(settings_: dict[str, Any]) -> None:
    """What a redactor cannot be made of is said at once, with what to do."""
    with pytest.raises(ValidationError) as caught:
        RegexRedactor(**settings_)
    assert caught.value.remedy


def test_it_is_a_redactor() -> None:
    """It fits the protocol."""
    assert isinstance(RegexRedactor(), Redactor)


pieces = st.sampled_from([
    *(each for several in FOUND.values() for each in several), *dict(NAMED), *LEFT,
    "\u00e9", "\U0001f600", "@", ".", "+", "0", "1 ", "(", "\n", "eyJ", "-----BEGIN ", "key=",
])  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(pieces, st.text(max_size=6)), max_size=12))
async def test_findings_are_where_they_say(parts: list[str]) -> None:
    """Findings do not meet, lie in the text, and all else of it is kept as it was."""
    text = " ".join(parts)
    found = await RegexRedactor().redact(text)
    expected, at = "", 0
    for one in found.findings:
        assert at <= one.start < one.end <= len(text)
        expected += text[at : one.start] + f"[{one.kind}]"
        at = one.end
    assert found.text == expected + text[at:]


HOSTILE = (
    "a", "@", "a@", "a.", "a@b.", "a@1.", "@a.", ".", "a-", "_", "1", "1 ", "1-", "1.", "4", "4 ",
    "+1", "+", "(", "(0", "0", "0 ", "01 ", "00 1 ", "1.1.1.1", "555-123-4567 ", "phone 1 ",
    "4111 1111 1111 1111 ", "call ", "bearer ", "basic \t", "api_key", "api_key=", "secret: ",
    "token'   =", "password", "pwd=>", "://", "://a:", "://:a", "sk-", "sk-a", "A", "Aa1/", "AKIA",
    "IQoJb3JpZ2lu", "xox", "gh", "ghp_", "eyJ", "eyJ.", "eyJaaaaa", "eyJaaaaa.", "\u00e9", "  ",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----\n ",
    "-----END PRIVATE KEY-----", "=", ":", "\\n", "\n",
)  # fmt: skip


AWAKE = "1 @ : = :// gh_ AKIA bearer key passw -----BEGIN "
"""Every search begins where its own sign is in the text."""


def _spent(kind: str, text: str, rounds: int) -> float:
    """Return the least CPU time of some rounds, of this thread alone."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.thread_time()
        for _span in FINDERS[kind](text):
            pass
        best = min(best, time.thread_time() - begun)
    return best


@pytest.mark.parametrize("kind", FINDERS)
def test_time_grows_with_the_text(kind: str) -> None:
    """Of a text sixteen times as long the time is about sixteen times as much, and not 256."""
    for seed in HOSTILE:
        texts = [AWAKE + (seed * (size // len(seed) + 1))[:size] for size in (2_048, 32_768)]
        small, large = _spent(kind, texts[0], 5), _spent(kind, texts[1], 2)
        assert large <= 80 * max(small, 1e-4), seed

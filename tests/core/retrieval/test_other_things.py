"""Another thing of the same kind answers nothing, however loudly it says that it is so now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from memlane import MemoryClient, NewMemory, RetrievalOptions, Scope
from memlane.local import InMemoryBackend, MiniLMEmbedder

ADA = Scope("ada")
SPRING = datetime(2026, 3, 1, tzinfo=UTC)
OFF = RetrievalOptions(supersede=False)
AROUND = (
    "I like hiking in the mountains", "The car needs new tyres", "My favourite tea is oolong",
    "I bought a blue sofa", "The train was late this morning", "The printer is out of ink",
    "I prefer window seats", "The kitchen tap is leaking", "We had sushi for dinner",
)  # fmt: skip

OTHERS = (
    ("What is my sister's phone number?", "My sister's phone number is 555-1234",
     "My brother's phone number is 555-9999 now"),
    ("Where does my mother live?", "My mother lives in Porto", "My father moved to Lisbon"),
    ("What is the code for the front gate?", "The code for the front gate is 1234",
     "The code for the back gate is now 9999"),
    ("What is the name of my dog?", "My dog is called Rex", "My cat is called Tom now"),
    ("What dose of metformin do I take?", "I take 500 mg of metformin in the morning",
     "I take 10 mg of lisinopril now"),
    ("How old is Tom?", "My son Tom is 5 years old", "My daughter Mia is 7 years old now"),
    ("What is the wifi password at home?", "The wifi password at home is alpha1",
     "The wifi password at the office changed to beta2"),
    ("What am I allergic to?", "I am allergic to peanuts", "I am now allergic to penicillin too"),
    ("When is my daughter's birthday?", "My daughter's birthday is on May 3",
     "My son's birthday party was moved to June 9"),
    ("What is my Visa limit?", "My Visa limit is 2000 euros",
     "My Mastercard limit is 5000 euros now"),
    ("Where do I live?", "I live in Porto", "My sister's flat is now in Lisbon"),
    ("What is the gate code?", "The gate code is 1234", "The office code is 9999 now"),
    ("What car do I drive?", "I drive a Volvo", "My wife drives a Tesla now"),
    ("What is my phone number?", "My phone number is 5521", "My work phone number is 8830 now"),
    ("What instrument do I play?", "I play the violin", "I also play the cello now"),
)  # fmt: skip
CHANGES = (
    ("Where do I live?", "I live in Porto", "I moved to Lisbon"),
    ("What is my sister's phone number?", "My sister's phone number is 555-1234",
     "My sister's number changed, it is 555-9999 now"),
    ("Where does Anna work?", "Anna works at Siemens", "Anna switched to Bosch"),
    ("What is the code for the front gate?", "The code for the front gate is 1234",
     "The front gate code is now 9999"),
    ("Where do I work?", "I work at Acme", "I work at Globex now"),
    ("Where does my mother live?", "My mother lives in Porto", "My mother moved to the coast"),
    ("What is my email?", "My email is a@b.com", "My new email is c@d.com now"),
    ("Who is my boss?", "My boss is Ann", "Bea became my boss"),
    ("How much rent do I pay?", "My rent is 900", "The rent went up, it is 950 now"),
    ("Where do I live?", "I live in Porto", "My home is now in Lisbon"),
)  # fmt: skip


async def _first(question: str, older: str, newer: str) -> tuple[str, str]:
    """Return what comes first among other memories, with the switch off and on."""
    embedder = MiniLMEmbedder()
    async with MemoryClient(
        backend=InMemoryBackend(), embedder=embedder, owned=[embedder]
    ) as client:
        said = [*AROUND, older, newer]
        await client.store_many(
            [
                NewMemory(content=text, occurred_at=SPRING + timedelta(days=n))
                for n, text in enumerate(said)
            ],
            scope=ADA,
        )
        off = await client.retrieve(question, scope=ADA, limit=1, options=OFF)
        on = await client.retrieve(question, scope=ADA, limit=1)
    return off[0].record.text, on[0].record.text


@pytest.mark.parametrize(("question", "older", "newer"), OTHERS, ids=[one[2] for one in OTHERS])
async def test_another_thing_takes_no_place(question: str, older: str, newer: str) -> None:
    """What the question names only the older statement has, or the newer one is somebody else's."""
    assert await _first(question, older, newer) == (older, older)


@pytest.mark.parametrize(("question", "older", "newer"), CHANGES, ids=[one[2] for one in CHANGES])
async def test_the_same_thing_in_other_words_takes_it(
    question: str, older: str, newer: str
) -> None:
    """The value is new, and how it is said, and not the thing."""
    _, on = await _first(question, older, newer)
    assert on == newer

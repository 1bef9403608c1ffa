"""What a similarity of one model means: 0 for texts of different matters, 1 for the same said anew.

Raw cosines of two models cannot be compared: texts that have nothing in common are at 0.05 with
one and at 0.7 with another. A few everyday facts, embedded once, tell where a model stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from memlane.embeddings import embed_all
from memlane.errors import EmbeddingSpaceError
from memlane.protocols import Embedder, Purpose, Vector
from memlane.runtime import SingleFlight
from memlane.scoring import similarities
from memlane.windows import clip

__all__ = ("FACTS", "MEASURED", "RELEVANT", "Calibration", "Scale", "calibrate", "relevance")

Values: TypeAlias = npt.NDArray[np.float32]
Kept: TypeAlias = dict[tuple[Purpose, str], Vector]
"""Vectors of texts that were embedded already, by purpose and text."""

_APART: Final = 0.1
"""The least distance between the medians, in cosine, by which anything can be told apart."""

RELEVANT: Final = 0.5
"""An answer in which no match reaches this relevance has nothing to the matter.

`benchmarks.abstention` on held-out seeds, with the built-in model: 50 % of the questions about what
nobody ever spoke of are refused, 2 % of those with near misses alone. Of the evidence found in the
first five 99 % is kept, 89 % where a fact was told once and nothing else is near it. At 0.4 it is
20 % refused for 96 % kept, at 0.6 70 % for 75 %.
"""

FACTS: Final = (
    ("I moved to Ghent two years ago.", "Which town do I live in?",
     "For two years now my home has been in Ghent."),
    ("My daughter Paula turns nine in October.", "How old is my child?",
     "In the autumn our girl will be nine."),
    ("Peanuts make my throat swell.", "What food is dangerous for me?",
     "I react badly to groundnuts."),
    ("I repair violins for a living.", "What is my job?",
     "My trade is mending fiddles."),
    ("Our cat is called Biscuit.", "What name does our pet have?",
     "Biscuit is what we named the kitten."),
    ("I quit smoking last winter.", "When did I give up cigarettes?",
     "Since the cold months I have not touched tobacco."),
    ("The boiler was serviced by Hendriks and Sons.", "Who looked after the heating?",
     "Hendriks did the maintenance of our furnace."),
    ("I always fly in an aisle seat.", "Where do I like to sit on a plane?",
     "On airplanes I want a place next to the gangway."),
    ("My knee was operated on in May.", "Which surgery have I had?",
     "This spring a surgeon worked on my leg joint."),
    ("We are getting married on 14 June.", "What is the date of the wedding?",
     "Our wedding takes place in the middle of June."),
    ("I wake up at half past five.", "At what hour does my day begin?",
     "My alarm rings at 5:30 each morning."),
    ("My brother teaches chemistry in Leeds.", "What does my sibling do for work?",
     "A school in Leeds employs my sibling for science lessons."),
    ("The spare key is under the blue flowerpot.", "Where did we hide the second key?",
     "Look below the planter for an extra door key."),
    ("I am saving up for a sailing boat.", "What am I putting money aside for?",
     "Each month I put money away to buy a small yacht."),
    ("Please write to me in short sentences.", "How should answers to me be worded?",
     "Keep your replies brief."),
    ("I support the football club from Napoli.", "Which team do I cheer for?",
     "As a soccer fan I am with the team of Naples."),
    ("My old laptop broke, now I have a ThinkPad.", "What computer am I using?",
     "I replaced my dead notebook with a Lenovo."),
    ("I have been learning the cello since spring.", "Which instrument am I practising?",
     "A few months ago I took up cello lessons."),
    ("Grandma left me her recipe for plum dumplings.", "Which dish did I inherit?",
     "From my grandmother I know how to make dumplings with plums."),
    ("Rent is 870 euros a month.", "What do I pay for the apartment?",
     "The flat costs me 870 monthly."),
    ("I am afraid of heights.", "What scares me?",
     "High places frighten me."),
    ("On Thursday evenings I sing in a choir.", "Which hobby do I have during the week?",
     "Every Thursday night I have choral singing."),
    ("Dr. Okafor prescribed me iron tablets.", "What medication was I given?",
     "My physician told me to take pills against a lack of iron."),
    ("Last summer we toured Iceland in a van.", "Where did we travel on our holiday?",
     "We drove a camper round Iceland for our vacation."),
    ("My favourite author is Ursula Le Guin.", "Whose books do I like best?",
     "No writer is dearer to me than Le Guin."),
    ("My wallet was stolen at the market.", "What did the thief take from me?",
     "A pickpocket took my purse between the stalls."),
    ("I studied geology in Vienna.", "What subject is my degree in?",
     "My degree in earth science is from an Austrian university."),
    ("I would rather have tea than coffee.", "What should you offer me to drink?",
     "Given the choice I drink tea."),
    ("Nadia from accounting approves my expenses.", "Who signs off what I spend?",
     "My spending is signed off by Nadia in the finance team."),
    ("The car has to be inspected before August.", "When is the vehicle check due?",
     "By the end of July my vehicle needs its inspection."),
    ("I planted tomatoes on the balcony.", "Which vegetables am I growing?",
     "There are tomato plants outside my window."),
    ("I am short-sighted and wear contact lenses.", "How good are my eyes?",
     "Without contacts I see badly at a distance."),
    ("For my fortieth birthday I want a telescope.", "Which present would please me?",
     "When I turn 40, give me something to watch the stars with."),
    ("Our neighbour complains about the drums.", "Who is upset by the noise?",
     "The man next door is annoyed by our drumming."),
    ("Ich habe jahrelang in Bremen Brot gebacken.", "In welcher Stadt war ich Bäcker?",
     "Früher arbeitete ich in einer Bremer Bäckerei."),
    ("Ich esse kein Fleisch mehr.", "Wie ernähre ich mich?",
     "Seit einiger Zeit lebe ich vegetarisch."),
    ("Am Samstag streichen wir den Zaun.", "Was haben wir am Wochenende vor?",
     "Der Gartenzaun bekommt Samstag neue Farbe."),
    ("Mi madre cumple años en abril.", "¿Cuándo es el cumpleaños de mi mamá?",
     "El cumpleaños de mamá cae en abril."),
    ("He perdido las gafas en la playa.", "¿Dónde se quedaron mis lentes?",
     "Mis lentes se quedaron en la arena."),
    ("Corro diez kilómetros cada domingo.", "¿Qué deporte hago los fines de semana?",
     "Los domingos salgo a correr diez mil metros."),
)  # fmt: skip
"""A fact as people tell it, a question it answers, and the same said otherwise; 40 matters."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Where a model puts what has nothing in common, and what says the same.

    Args:
        unrelated: Median cosine similarity of a fact and a question about another matter.
        paraphrase: Median cosine similarity of a fact and the same fact in other words.

    Raises:
        EmbeddingSpaceError: The medians are not finite or less than 0.1 apart.
    """

    unrelated: float
    paraphrase: float

    def __post_init__(self) -> None:
        apart = self.paraphrase - self.unrelated
        if not math.isfinite(apart) or apart < _APART:
            raise EmbeddingSpaceError(
                f"paraphrases are at {self.paraphrase:.2f} where unrelated texts are at "
                f"{self.unrelated:.2f}, so the model tells no meanings apart",
                operation="calibrate",
                remedy="use a model of sentence similarity",
            )

    def calibrated(self, similarity: Values | float) -> Values:
        """Return float32 0..1: 0 up to the median unrelated, 1 from the median paraphrase on.

        Args:
            similarity: Cosine similarities of this model, of any shape; NaN, which is a row
                without a vector, becomes 0.
        """
        near = (np.asarray(similarity, dtype=np.float32) - self.unrelated) / (
            self.paraphrase - self.unrelated
        )
        found: Values = np.clip(np.nan_to_num(near, nan=0.0), 0.0, 1.0).astype(np.float32)
        return found

    def similarity_at(self, calibrated: float) -> float:
        """Return the cosine similarity of this model whose calibrated value is given, 0..1."""
        return self.unrelated + calibrated * (self.paraphrase - self.unrelated)


MEASURED: Final[Mapping[str, Calibration]] = MappingProxyType(
    {"all-minilm-l6-v2-int8:384": Calibration(unrelated=0.056, paraphrase=0.634)}
)
"""Of the built-in model, by id of its space; `memlane info --measure` repeats it."""


async def calibrate(embedder: Embedder, *, kept: Kept | None = None) -> Calibration:
    """Measure a model on `FACTS`: 120 short texts, 0.3 s of CPU with the built-in model.

    Facts are embedded as documents, questions and paraphrases as queries, as in use.

    Args:
        embedder: The model.
        kept: Takes what was embedded, and spares it the next time.

    Raises:
        EmbeddingSpaceError: The model tells no meanings apart, or its vectors are unfit.
    """
    facts, questions, paraphrases = zip(*FACTS, strict=True)
    kept = {} if kept is None else kept
    told = await _embedded(embedder, facts, purpose="document", kept=kept)
    asked = await _embedded(embedder, [*questions, *paraphrases], purpose="query", kept=kept)
    near = similarities(1 - told @ asked.T)
    across = near[:, : len(FACTS)][~np.eye(len(FACTS), dtype=np.bool_)]
    same = np.diagonal(near[:, len(FACTS) :])
    return Calibration(unrelated=float(np.median(across)), paraphrase=float(np.median(same)))


async def _embedded(
    embedder: Embedder, texts: Sequence[str], *, purpose: Purpose, kept: Kept
) -> Vector:
    """Return vectors of length one, a row per text."""
    texts = [clip(text, embedder.max_chars) for text in texts]
    missing = [text for text in texts if (purpose, text) not in kept]
    step = max(1, embedder.max_batch)
    for at in range(0, len(missing), step):
        batch = missing[at : at + step]
        found = await embed_all(embedder, batch, purpose=purpose)
        kept |= {(purpose, text): row for text, row in zip(batch, found, strict=True)}
    rows = np.stack([kept[purpose, text] for text in texts])
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    unit: Vector = (rows / lengths).astype(np.float32)
    return unit


class Scale:
    """The calibration of one embedder, measured when it is first needed.

    Args:
        embedder: The model.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known = MEASURED.get(embedder.space.id)
        self._kept: Kept = {}
        self._flight: SingleFlight[Calibration] = SingleFlight()

    async def get(self, *, measure: bool) -> Calibration | None:
        """Return the calibration, or None where it is not known and not to be measured.

        Args:
            measure: Ask the model, which may cost money, unless it is known.

        Raises:
            EmbeddingSpaceError: The model tells no meanings apart.
        """
        if self._known is None and measure:
            # What a deadline or a failure has cut short goes on from there the next time.
            self._known = await self._flight.run(
                "scale", lambda: calibrate(self._embedder, kept=self._kept)
            )
            self._kept = {}
        return self._known


def relevance(
    similarity: Values | float, words: Values | float, calibration: Calibration
) -> Values:
    """Return float32 0..1: how likely a text is about what is asked, by its meaning or its words.

    `1 - (1 - a)(1 - b)` of the calibrated similarity and the words covered: either can be enough.
    A code is found by its words alone, a paraphrase by its meaning alone.

    Args:
        similarity: Cosine similarities of the calibrated model, of any shape.
        words: Share of the question's words covered, 0..1, of the same shape; see `coverage`.
        calibration: Of the model that made the similarities.
    """
    unlike = 1 - calibration.calibrated(similarity)
    covered = np.clip(np.asarray(words, dtype=np.float32), 0.0, 1.0)
    found: Values = (1 - unlike * (1 - covered)).astype(np.float32)
    return found

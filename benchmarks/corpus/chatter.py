"""Phrases that small talk is made of; none says anything that a question asks for."""

from __future__ import annotations

from typing import Final

_OTHERS: Final = (
    "the postman", "a colleague", "my cousin", "our old teacher", "a friend from school",
    "the woman upstairs", "my uncle", "the new intern", "the caretaker", "a tourist",
    "the florist", "the man with the red scarf", "the choir leader", "a schoolgirl",
    "the plumber", "the librarian", "an inspector", "the girl from the kiosk", "a stranger",
    "the whole committee", "our accountant", "the lifeguard", "a street musician", "my aunt",
)  # fmt: skip
OTHERS: Final = _OTHERS[12:]
PEOPLE: Final = _OTHERS[:12]
DID: Final = (
    "repaired the fence", "told a long story", "lost an umbrella", "missed the last bus",
    "brought a tray of buns", "complained about the noise", "asked for directions",
    "sang in the stairway", "varnished a bench", "found a coin", "argued about the bill",
    "took photographs of clouds", "slammed a window", "dropped a pile of plates",
    "chased a runaway hat", "whistled the same tune", "wrote something on a napkin",
    "laughed until it hurt", "fell asleep on a bench", "waved at the wrong person",
    "broke the vending machine", "handed out leaflets", "blocked the revolving door",
    "fed the pigeons", "mixed up two parcels", "recited a poem", "forgot to turn off the tap",
    "carried a ladder through the hall", "stepped into a puddle", "tore a sleeve",
    "left a strange message", "borrowed my stapler", "rang every bell in the house",
    "stuck a notice on the lamp post", "juggled with three lemons", "spilled a bucket of sand",
)  # fmt: skip
MINE: Final = (
    "looked for the stapler", "sorted old receipts", "walked round the pond",
    "peeled far too many potatoes", "waited for the lift", "swept the leaves from the steps",
    "counted the swans", "mended a zip", "untangled a string of lights",
    "carried boxes up to the attic", "stood in a queue", "wrote a shopping list",
    "watched the snow melt", "wiped the windows", "folded a mountain of towels",
    "dropped a jar of pickles", "hummed to myself", "lost one glove",
    "came across an old calendar", "oiled the hinges", "missed half of the speech",
    "changed a light bulb", "spilled ink on the tablecloth", "tried to fix the doorbell",
    "wrapped a parcel", "stared at the ceiling", "skimmed a leaflet", "raked the gravel",
    "cleaned out a drawer", "stubbed a toe", "burned the onions", "talked to the parrot next door",
    "searched all pockets for a coin", "moved the heavy cupboard", "shook out the rug",
    "sharpened every pencil in the house",
)  # fmt: skip
WHENS: Final = (
    "this morning", "after lunch", "in the rain", "near the station", "for half an hour",
    "without any reason", "before the shops closed", "at the market", "by the river",
    "while we were talking", "yesterday", "in the middle of the meeting", "on the way back",
    "late in the afternoon", "in front of everybody", "outside the town hall",
    "just after sunrise", "under the railway bridge", "twice in a row", "at the corner",
    "during the break", "with great care", "on the stairs", "last weekend",
)  # fmt: skip
TIMES: Final = (
    "this morning", "after lunch", "for half an hour", "before the shops closed", "yesterday",
    "on the way back", "late in the afternoon", "just after sunrise", "during the break",
    "last weekend", "all through Sunday", "while we were talking", "without any warning",
    "for hours", "before I was awake", "towards midnight",
)  # fmt: skip
TAILS: Final = (
    "which took longer than anybody thought", "and I would not do it again",
    "so the rest of the day felt short", "as if there were nothing else to do",
    "and nobody noticed", "which made me smile", "though the clock was already striking",
    "and that was that", "which is a story for another time", "as always at this time of year",
    "and we still talk about it", "but it could have been worse", "and then the lights went out",
    "which nobody had asked for", "and my feet were cold all the while", "to everybody's surprise",
    "even if it sounds odd", "and the kettle boiled over meanwhile", "because somebody had to",
    "which reminds me of our old school trips", "and there was no end to it",
    "but please keep that to yourself", "while a dog barked somewhere", "and so the day went by",
)  # fmt: skip
TALKED: Final = (
    "went on and on", "would not stop talking", "told us everything", "made a joke",
    "had a lot to say", "knew a rhyme", "complained to everybody", "got quite excited",
)  # fmt: skip
HEARD: Final = (
    "overheard", "sat through", "caught the end of", "walked away from", "could not follow",
    "smiled at", "nodded through", "got drawn into",
)  # fmt: skip
WORDS: Final = (
    "a long talk", "a quarrel", "a lecture", "somebody's complaints", "a silly rumour",
    "a conversation on the bus", "a heated debate", "an endless monologue",
)  # fmt: skip
MATTERS: Final = (
    "the price of bread", "dog shows", "delayed trains", "hair dryers", "other people's gardens",
    "a shoe sale", "parking fines", "phone cases", "insurance adverts", "wedding speeches",
    "school lunches", "coffee machines", "passport photos", "gym fees", "film posters",
    "radio jingles", "breakfast menus", "landlords in general", "electricity poles",
    "the history of tea", "desk lamps", "famous sisters", "the bedroom of a king",
    "flight delays", "bank holidays", "forgotten passwords", "badly drawn tattoos",
    "a chain of bakeries", "kitchen tiles", "car washes", "collectors and their quarrels",
    "medicine in the Middle Ages", "dentists in comedies", "the neighbours of a film star",
    "birthday balloons", "newspaper ink", "language schools", "night shifts in hospitals",
    "seats in old theatres", "doctors in novels",
)  # fmt: skip
WEATHER: Final = (
    "rained", "poured", "hailed", "drizzled", "cleared up", "snowed", "thundered", "got foggy",
    "turned cold", "grew dark", "got windy", "warmed up",
)  # fmt: skip
FEELINGS: Final = (
    "glad", "annoyed", "surprised", "not aware", "a little ashamed", "relieved", "told",
    "half amused", "sorry to hear", "quite sure", "afraid", "moved",
)  # fmt: skip
NEED: Final = (
    "need", "could do with", "am looking for", "still have to find", "would like",
    "have been asking for", "keep hoping for", "would not say no to",
)  # fmt: skip
OBJECTS: Final = (
    "a longer ladder", "a sharper knife", "some string", "a bigger bucket", "a spare bulb",
    "a quiet hour", "two more chairs", "a better umbrella", "a roll of tape", "fresh batteries",
    "a pair of scissors", "a new doormat", "some good advice", "a box of matches",
    "a hook for the coats", "a wider shelf", "three clothes pegs", "a warmer scarf",
    "an empty jar", "a pencil sharpener", "some wrapping paper", "a torch", "an extension lead",
    "a helping hand",
)  # fmt: skip
SOON: Final = (
    "again", "for the attic", "for the picnic", "for the moment", "for once", "for the balcony",
    "after all", "before winter", "like everybody", "for Saturday", "as usual", "for the stall",
    "in this weather", "these days", "by Friday", "for the corridor", "once more", "for my aunt",
    "for the school fair", "for the shed",
)  # fmt: skip
GOODS: Final = (
    "kettle", "umbrella", "doormat", "bucket", "ladder", "stapler", "scarf", "lampshade",
    "corkscrew", "broom", "drawer", "shelf", "letter opener", "stopwatch", "whisk", "spoon",
    "rucksack", "stool", "curtain", "tablecloth", "rug", "mirror", "torch", "basket", "clock",
    "fan", "toolbox", "mug", "fountain", "hammock",
)  # fmt: skip
STATES: Final = (
    "creaks", "squeaks", "is stuck", "wobbles", "smells odd", "looks dusty", "is damp",
    "is nowhere to be found", "looks dull", "is in the way", "needs a rinse", "rattles",
    "is crooked", "has a crack",
)  # fmt: skip
LATELY: Final = (
    "again", "today", "as always", "this week", "somehow", "once more", "of course", "too",
    "by now", "as usual", "for some reason", "all day",
)  # fmt: skip
SUCH: Final = (
    "grey", "long", "noisy", "lovely", "strange", "dull", "wild", "perfect", "muddy", "hot",
    "windy", "funny", "sleepy", "busy", "bright", "bleak", "cheerful", "clumsy", "splendid",
    "quiet",
)  # fmt: skip
NOUNS: Final = (
    "morning", "sky", "crowd", "queue", "noise", "moon", "mess", "speech", "parade", "sunset",
    "puddle", "rainbow", "traffic jam", "market", "show", "party", "poster", "joke", "wind",
    "walk", "street", "view", "day", "smell",
)  # fmt: skip
AT: Final = (
    "today", "again", "out there", "down here", "by the river", "at the corner", "this time",
    "over there", "in the park", "all week", "as always", "before noon",
)  # fmt: skip
SEE: Final = ("see", "notice", "hear of", "walk past", "take a picture of", "laugh at")
SIGHTS: Final = (
    "the full moon", "the broken fountain", "that enormous kite", "the balloon seller",
    "the parade of old tractors", "the new statue", "those geese", "the burst pipe",
    "the man on stilts", "the crooked signpost", "the snowman", "the empty shop window",
    "the marching band", "the upside-down poster", "the giant chess board", "that odd cloud",
    "the swans", "the puppet theatre", "the fallen oak", "the flooded underpass",
)  # fmt: skip
PLACES: Final = (
    "last night", "by the river", "in front of the town hall", "near the station", "on Sunday",
    "at the fair", "behind the church", "on the way here", "in the park", "at the harbour",
    "over the bridge", "outside the theatre", "on the square", "this morning",
)  # fmt: skip
ANSWERS: Final = (
    "yes", "only from afar", "no", "not this time", "of course", "I think so", "hardly",
    "for a minute", "who did not", "I missed it", "twice even", "not really",
)  # fmt: skip
COMMENTS: Final = (
    "the light was bad", "there was such a crowd", "we were in a hurry", "it was gone too soon",
    "everybody had told me to", "I had the sun in my eyes", "we laughed a lot",
    "the children pulled me away", "it looked smaller than I thought", "my glasses were wet",
    "somebody stood in front of me", "I was carrying two bags", "the others wanted to go on",
    "it was hard to miss", "we stayed for a while", "I had expected more",
)  # fmt: skip
DOUBTS: Final = (
    "no idea", "I was wondering too", "somebody must know", "ask the others", "who can say",
    "perhaps", "I can only guess", "hard to tell", "there are rumours", "nobody told me",
)  # fmt: skip
BECAUSE: Final = (
    "it must have been a bet", "I only came", "people do such things", "it happened so fast",
    "they were at it", "there was a lot going on", "we only heard the noise",
    "it was the same thing", "I looked the other way", "everybody laughed about it",
    "it seemed a good idea", "nobody paid attention", "somebody had dared them",
    "I heard about it",
)  # fmt: skip
AFTER_ALL: Final = (
    "but never mind", "and what about you", "so tell me all about it", "but my friends did",
    "and I am still laughing", "so I cannot say much", "and then it began to rain",
    "but do not ask me for details", "and it was over in no time", "as I told the others",
    "but once is enough", "and now it is a legend", "so who knows", "and the rest you know",
)  # fmt: skip

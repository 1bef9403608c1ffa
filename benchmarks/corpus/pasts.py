"""Questions about what was, before it changed: asked of some of the kinds that can change."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

_Asks: TypeAlias = tuple[str, str, str]

PASTS: Final[Mapping[str, _Asks]] = MappingProxyType({
    "home city": ("Where did {n} live before?", "In which city did {n} use to live?",
                  "Where was {n}'s home previously?"),
    "landlord": ("Who was {n}'s landlord before?", "From whom did {n} rent the flat previously?",
                 "Who used to let the flat to {n}?"),
    "internet provider": ("Who was {n}'s internet provider before?",
                          "From which company did {n} get the internet originally?",
                          "Who used to supply {n}'s internet?"),
    "parking spot": ("Where did {n} park before?", "Where did {n} use to park?",
                     "Where was {n}'s former parking spot?"),
    "doctor": ("Who was {n}'s doctor before?", "Which doctor did {n} see previously?",
               "Who used to be {n}'s doctor?"),
    "medicine": ("What medicine did {n} take before?", "Which medicine did {n} use to take?",
                 "What was {n}'s daily medicine previously?"),
    "babysitter": ("Who was {n}'s babysitter before?", "Who used to be {n}'s babysitter?",
                   "Who was the former babysitter of {n}'s children?"),
    "cleaner": ("Who cleaned {n}'s flat before?", "Who used to clean {n}'s flat?",
                "Who was {n}'s previous cleaner?"),
    "employer": ("Where did {n} work before?", "Who was {n}'s former employer?",
                 "At which company did {n} use to work?"),
    "manager": ("Who was {n}'s manager before?", "Who used to be {n}'s boss?",
                "Who was {n}'s previous manager?"),
    "shift": ("Which shift did {n} work before?", "What shift did {n} use to be on?",
              "What was {n}'s earlier shift?"),
    "commute": ("How did {n} commute before?", "How did {n} use to get to work?",
                "By what means did {n} commute formerly?"),
    "lunch place": ("Where did {n} have lunch before?", "Where did {n} use to go for lunch?",
                    "What was {n}'s old place for lunch?"),
    "car": ("What car did {n} drive before?", "Which car did {n} use to drive?",
            "What was {n}'s previous car?"),
    "bank": ("Which bank did {n} use before?", "Where did {n} use to have a bank account?",
             "What was {n}'s former bank?"),
    "insurance": ("With whom was {n} insured before?", "Who used to insure {n}?",
                  "What was {n}'s previous insurance company?"),
    "phone": ("What phone did {n} have before?", "Which phone did {n} use to carry?",
              "What was {n}'s old phone?"),
    "instrument": ("What instrument did {n} play before?", "Which instrument did {n} use to play?",
                   "What was {n}'s earlier instrument?"),
    "sport": ("What sport did {n} do before?", "Which sport did {n} use to do?",
              "What was {n}'s former sport?"),
    "baker": ("Where did {n} buy bread before?", "Where did {n} use to buy bread?",
              "What was {n}'s former bakery?"),
})  # fmt: skip
"""By the name of a kind; each question is about the last thing but one that was true."""

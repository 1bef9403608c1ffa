"""Facts said and asked in other languages than English."""

from __future__ import annotations

from typing import Final

LANGUAGES: Final = (
    # Spanish
    ("Mi hermano vive en {v}.", "¿Dónde vive el hermano de {n}?",
     ("Sevilla", "Bilbao", "Cádiz", "Murcia")),
    ("Mi color favorito es el {v}.", "¿Cuál es el color favorito de {n}?",
     ("verde", "morado", "amarillo", "naranja")),
    ("Los {v} trabajo desde casa.", "¿Qué día trabaja {n} desde casa?",
     ("lunes", "martes", "jueves", "viernes")),
    ("Mi abuela nació en el año {v}.", "¿En qué año nació la abuela de {n}?",
     ("1931", "1934", "1938", "1942")),
    ("A mi hija le encanta bailar {v}.", "¿Qué le encanta bailar a la hija de {n}?",
     ("flamenco", "salsa", "tango", "ballet")),
    # German
    ("Mein Bruder arbeitet als {v}.", "Welchen Beruf hat der Bruder von {n}?",
     ("Bäcker", "Gärtner", "Lehrer", "Tischler")),
    ("Meine Katze heißt {v}.", "Wie heißt die Katze von {n}?",
     ("Minka", "Socke", "Fussel", "Krümel")),
    ("Meine Oma wohnt in {v}.", "Wo wohnt die Oma von {n}?",
     ("Husum", "Weimar", "Passau", "Lübeck")),
    ("Zu Weihnachten backe ich immer {v}.", "Was backt {n} zu Weihnachten?",
     ("Stollen", "Zimtsterne", "Lebkuchen", "Vanillekipferl")),
    ("Im Chor singe ich {v}.", "Welche Stimme singt {n} im Chor?",
     ("Alt", "Sopran", "Tenor", "Bass")),
    # French
    ("Je préfère le fromage de {v}.", "Quel fromage préfère {n} ?",
     ("chèvre", "brebis", "vache")),
    ("J'ai fait mes études à {v}.", "Où est-ce que {n} a fait ses études ?",
     ("Rennes", "Dijon", "Nantes", "Lille")),
    ("Le dimanche, je joue aux échecs avec {v}.", "Avec qui est-ce que {n} joue aux échecs ?",
     ("Solange", "Mireille", "Ginette", "Armand")),
    ("Pour les enfants, je fabrique {v} en bois.",
     "Qu'est-ce que {n} fabrique pour les enfants ?",
     ("un cheval", "un bateau", "une toupie", "un moulin")),
    # Italian
    ("Mio cugino abita a {v}.", "Dove abita il cugino di {n}?",
     ("Bari", "Trento", "Modena", "Perugia")),
    ("La domenica cucino {v}.", "Che cosa cucina {n} la domenica?",
     ("gli gnocchi", "la polenta", "le melanzane", "il polpettone")),
    ("Mia zia insegna {v} al liceo.", "Che cosa insegna la zia di {n}?",
     ("latino", "chimica", "filosofia", "fisica")),
    # Portuguese
    ("O meu barco chama-se {v}.", "Como se chama o barco de {n}?",
     ("Gaivota", "Estrela", "Saudade", "Maresia")),
    ("A minha fruta preferida é {v}.", "Qual é a fruta preferida de {n}?",
     ("a manga", "o figo", "a romã", "o maracujá")),
)  # fmt: skip
"""A statement, its question, and the values; French avoids what elides before a name."""

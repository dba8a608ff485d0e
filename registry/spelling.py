"""How does a text look to whoever reads it? No I/O happens here."""

from __future__ import annotations

import unicodedata

# Cyrillic, Greek, Armenian and odd Latin letters that look like those of our words (Unicode's confusables.txt, 16.0);
# accents and widths are undone by NFKD, capitals by casefold. A small l, a capital i and a one are not told apart.
_LIKE = {
    "l": "\u0456\u0131\u03b9\u04cf\u0269\u01c0", "a": "\u0430\u0251\u03b1", "c": "\u0441\u03f2", "e": "\u0435",
    "g": "\u0261\u0581", "h": "\u04bb", "k": "\u043a", "m": "\u043c", "n": "\u043f\u0578",
    "o": "\u043e\u03bf\u0585", "p": "\u0440\u03c1", "s": "\u0455\ua731", "u": "\u0446\u03c5", "d": "\u0501",
    "w": "\u051d\u0461", "y": "\u0443\u04af\u03b3\u028f", "t": "\u0442", "r": "\u0433",
}
_ALIKE = {ord(one): letter for letter, those in _LIKE.items() for one in those} | str.maketrans("i1|0", "lllo")


def one_line(text: str) -> str:
    """The same text in one line, in which nothing acts: line ends, escapes and marks of direction are spelled out."""
    if text.isprintable():  # nearly all are
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def looks(text: str) -> str:
    """What a hurried reader takes it for: two texts that give the same may be mistaken for one another.

    For the letters of our own words only, so that nobody is refused a name that merely is not Latin.
    """
    seen = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(c for c in seen if unicodedata.category(c)[0] not in "MCZ")
    return bare.translate(_ALIKE)

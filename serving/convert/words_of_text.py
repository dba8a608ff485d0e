"""A scikit-learn pipeline that begins by counting words: the counting is ported, the rest is converted."""

from __future__ import annotations

from typing import Any

from ..errors import Unconvertible
from ..runtime.bag import Bag

COUNTERS = ("CountVectorizer", "TfidfVectorizer")


def split(model: Any) -> tuple[Bag, str | None, Any] | None:
    """What counts the words, the column that it reads (None: the one input), and the rest of the pipeline?

    None where the pipeline does not begin like that.

    Raises:
        Unconvertible: it counts words with a function of its own.
    """
    from sklearn.pipeline import Pipeline

    if len(getattr(model, "steps", ())) < 2:
        return None
    head, rest = model.steps[0][1], model.steps[1:]
    column = None
    if type(head).__name__ == "ColumnTransformer" and len(head.transformers_) == 1:
        _, head, column = head.transformers_[0]
    if type(head).__name__ not in COUNTERS or not (column is None or isinstance(column, str)):
        return None
    return bag_of(head), column, rest[0][1] if len(rest) == 1 else Pipeline(rest)


def bag_of(counter: Any) -> Bag:
    """Which bag counts as this vectoriser does?

    Raises:
        Unconvertible: it holds a function, or reads something other than plain text.
    """
    for option in ("preprocessor", "tokenizer"):
        if getattr(counter, option) is not None:
            raise Unconvertible(f"{type(counter).__name__} with a {option} of its own was not ported; Next: use its "
                                "token_pattern")
    if counter.analyzer not in ("word", "char", "char_wb") or counter.input != "content" or callable(
            counter.strip_accents):
        raise Unconvertible(f"{type(counter).__name__} with analyzer={counter.analyzer!r}, input={counter.input!r} was "
                            "not ported; Next: use words or characters of plain text")
    by_column = sorted(counter.vocabulary_, key=lambda word: counter.vocabulary_[word])
    tfidf = type(counter).__name__ == "TfidfVectorizer"
    return Bag(
        vocabulary=tuple(by_column), pattern=counter.token_pattern, analyzer=counter.analyzer,
        spans=tuple(counter.ngram_range), lower=counter.lowercase, accents=counter.strip_accents,
        stop=tuple(sorted(counter.get_stop_words() or ())), binary=counter.binary,
        sublinear=tfidf and counter.sublinear_tf,
        weights=tuple(counter.idf_.tolist()) if tfidf and counter.use_idf else (), norm=counter.norm if tfidf else None)

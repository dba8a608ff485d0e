"""Data made from a seed, whose best reachable figures are known: what a model is worth is seen against them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .words import Array

# --- text: whose opinion counts is said by the order of the words, not by which words there are

GOOD = ("good", "lovely", "bright", "friendly", "fresh", "clever", "warm", "quick", "tidy", "charming")
BAD = ("bad", "awful", "dull", "rude", "stale", "clumsy", "cold", "slow", "messy", "boring")
THINGS = ("soup", "service", "room", "film", "story", "staff", "music", "garden", "menu", "ending", "view", "price")
NEGATIONS = ("not", "never", "hardly")
STRENGTH = ("very", "really", "quite", "so", "truly")
OPENERS = ("i must say", "well", "last week", "as my sister told me", "in short", "to be honest", "")
LABEL_NOISE = 0.02


def sentences(rows: int, seed: int) -> tuple[Array, Array]:
    """Reviews of two clauses, and whether they are positive (1).

    "the soup was awful but the service was not bad": after "but" stands what counts; "although" turns
    that round; a negation turns its clause. Both clauses draw their words alike, so the set of words says
    little. A share LABEL_NOISE of the labels is turned, so no model can be right more often than 1 - LABEL_NOISE.
    """
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(rows):
        text, positive = _review(rng)
        texts.append(text)
        labels.append(positive != (rng.random() < LABEL_NOISE))
    return np.array(texts, dtype=object), np.array(labels, dtype=np.int64)


def _review(rng: np.random.Generator) -> tuple[str, bool]:
    (first, first_positive), (second, second_positive) = _clause(rng), _clause(rng)
    opener = OPENERS[rng.integers(len(OPENERS))]
    if rng.random() < 0.5:
        return f"{opener} {first}, but {second}.".strip().capitalize(), second_positive
    return f"{opener} although {second}, {first}.".strip().capitalize(), first_positive


def _clause(rng: np.random.Generator) -> tuple[str, bool]:
    positive, negated, strong = rng.random(3) < (0.5, 0.4, 0.3)
    words = ["the", THINGS[rng.integers(len(THINGS))], "was"]
    words += [NEGATIONS[rng.integers(len(NEGATIONS))]] if negated else []
    words += [STRENGTH[rng.integers(len(STRENGTH))]] if strong else []
    words.append((GOOD if positive else BAD)[rng.integers(len(GOOD))])
    return " ".join(words), bool(positive != negated)


# --- ratings: latent tastes, with noise of known size

USERS, ITEMS, FACTORS = 800, 500, 4
MEAN, USER_SPREAD, ITEM_SPREAD, TASTE_SPREAD, NOISE = 3.5, 0.35, 0.45, 0.55, 0.79


@dataclass(frozen=True, slots=True)
class Ratings:
    """Who rated what how, and the error that remains when the tastes are known exactly."""

    users: Array
    items: Array
    values: Array
    times: Array
    oracle_rmse: float


def ratings(rows: int, seed: int) -> Ratings:
    """Ratings = mean + user's leniency + item's quality + taste . traits + noise, popular items more often.

    The oracle knows all but the noise, so its error is the noise that was drawn.
    """
    rng = np.random.default_rng(seed)
    popularity = 1 / (np.arange(ITEMS) + 20.0)
    pairs = rng.choice(USERS * ITEMS, size=rows, replace=False, p=np.tile(popularity / popularity.sum() / USERS, USERS))
    user, item = pairs // ITEMS, pairs % ITEMS
    lenient, quality = rng.normal(0, USER_SPREAD, USERS), rng.normal(0, ITEM_SPREAD, ITEMS)
    scale = np.sqrt(TASTE_SPREAD / np.sqrt(FACTORS))
    taste, traits = rng.normal(0, scale, (USERS, FACTORS)), rng.normal(0, scale, (ITEMS, FACTORS))
    noise = rng.normal(0, NOISE, rows)
    values = MEAN + lenient[user] + quality[item] + (taste[user] * traits[item]).sum(axis=1) + noise
    names = [np.array([f"{kind}{i}" for i in range(n)], dtype=object) for kind, n in (("u", USERS), ("i", ITEMS))]
    oracle = float(np.sqrt(np.mean(noise**2)))
    return Ratings(names[0][user], names[1][item], values.astype(np.float32), np.arange(rows, dtype=np.float64), oracle)

"""How will this user rate that item? Collaborative filtering: biases and the product of two embeddings.

Default data: generated tastes with noise of known size. By path: the MovieLens layouts (tabs, `::`, commas).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import descent, generators, scores
from ..settings import Value
from ..sources.ratings import read_ratings
from ..words import (
    Algorithm,
    Array,
    Blueprint,
    DataOptions,
    Dataset,
    Engine,
    Examples,
    Fitted,
    Kind,
    Metrics,
    Split,
    Task,
    data_settings,
)

if TYPE_CHECKING:
    from ..descent import Network

ROWS = 100_000
BEST = 10
MOST_RANKED_USERS = 200
RELEVANT_QUANTILE = 0.75


def load(options: DataOptions) -> Dataset:
    """Users and items as text, ratings as float32."""
    chosen = {role: options.settings.text(role) for role in ("user", "item", "rating", "time")}
    limit, other = options.settings.integer("limit"), options.settings.text("held_out")
    if options.path:
        held_out = read_ratings(other, chosen) if other else None
        examples = read_ratings(options.path, chosen, limit=limit)
        return Dataset(examples, (), Kind.RANKING, options.path, held_out=held_out)
    rows = limit or ROWS
    made = generators.ratings(rows, seed=options.seed)
    examples = Examples({"user": made.users, "item": made.items}, made.values, {"time": made.times})
    source = f"train.generators.ratings({rows}, seed={options.seed})"
    return Dataset(examples, (), Kind.RANKING, source, known={"oracle_rmse": made.oracle_rmse})


def factors(blueprint: Blueprint) -> Network:
    """Mean + user's bias + item's bias + user . item; who or what is unknown counts as average."""
    import keras
    from keras import layers

    chosen, train = blueprint.settings, blueprint.train
    inputs = {role: keras.Input((), name=role, dtype="string") for role in ("user", "item")}
    codes, biases, vectors = [], [], []
    for role in inputs:
        names = sorted(set(train.inputs[role].tolist()))
        codes.append(layers.StringLookup(vocabulary=names)(inputs[role]))
        biases.append(_table(blueprint, len(names), 1, 0.0, codes[-1]))
        if chosen.integer("factors"):
            vectors.append(_table(blueprint, len(names), chosen.integer("factors"), 0.1, codes[-1]))
    parts = [*biases, layers.Dot(axes=1)(vectors)] if vectors else biases
    x = layers.Rescaling(1.0, offset=float(train.target.mean()), dtype="float32")(layers.Add()(parts))
    x = keras.ops.clip(x, float(train.target.min()), float(train.target.max()))
    rated = layers.Reshape((), name="prediction", dtype="float32")(x)
    return descent.Network(keras.Model(inputs, rated, name="ratings_factors"), tuple(codes))


def _table(blueprint: Blueprint, names: int, width: int, spread: float, codes: Any) -> Any:
    """An embedding whose row 0, for names never seen, is zero and stays so; kept small by `l2` per row of data."""
    import keras
    from keras import layers

    shrink = keras.regularizers.L2(blueprint.settings.number("l2") / len(blueprint.train))
    layer = layers.Embedding(names + 1, width, embeddings_regularizer=shrink)
    made = layer(codes)
    start = np.random.default_rng(blueprint.seed + names).normal(0, spread, (names + 1, width))
    start[0] = 0
    layer.set_weights([start])
    return made


def ranking(fitted: Fitted, dataset: Dataset, parts: Split) -> Metrics:
    """Recall and NDCG of the ten items put first, among those a user has not rated in training; biases' RMSE."""
    threshold = float(np.quantile(parts.train.target, RELEVANT_QUANTILE))
    found, gains = [], []
    items = np.unique(parts.train.inputs["item"].astype(str)).astype(object)
    seen = _items_of(parts.train)
    for user, liked in _liked(parts.held_out, threshold, set(items.tolist())):
        fresh = np.array([item not in seen.get(user, ()) or item in liked for item in items.tolist()])
        candidates = items[fresh]
        said = fitted.answers({"user": np.full(len(candidates), user, dtype=object), "item": candidates})
        hits = np.array([item in liked for item in candidates[np.argsort(-said, kind="stable")[:BEST]].tolist()])
        found.append(hits.sum() / min(len(liked), BEST))
        gains.append(_discounted(hits) / _discounted(np.ones(min(len(liked), BEST))))
    figures = {f"recall_at_{BEST}": np.array(found), f"ndcg_at_{BEST}": np.array(gains)}
    made = Metrics(rmse_of_biases=biases_only(parts))
    if found:
        means = {name: scores.mean_of(values) for name, values in figures.items()}
        made |= scores.resampled_rows(means, len(found), seed=0)
    return made


def _items_of(examples: Examples) -> dict[str, set[str]]:
    made: dict[str, set[str]] = {}
    for user, item in zip(examples.inputs["user"].tolist(), examples.inputs["item"].tolist(), strict=True):
        made.setdefault(user, set()).add(item)
    return made


def _liked(held_out: Examples, threshold: float, known: set[str]) -> list[tuple[str, set[str]]]:
    """Users with held-out items they rated at least `threshold`; at most MOST_RANKED_USERS, evenly drawn."""
    liked = _items_of(held_out.take(np.flatnonzero(held_out.target >= threshold)))
    users = sorted(user for user, items in liked.items() if items & known)
    step = max(1, len(users) // MOST_RANKED_USERS)
    return [(user, liked[user] & known) for user in users[::step][:MOST_RANKED_USERS]]


def _discounted(hits: Array) -> float:
    """Discounted cumulative gain (Jarvelin and Kekalainen 2002)."""
    return float((hits / np.log2(np.arange(2, len(hits) + 2))).sum())


def biases_only(parts: Split, *, shrink: float = 5.0, rounds: int = 10) -> float:
    """The held-out RMSE of mean + user's bias + item's bias, fitted by turns on train: what a model must beat."""
    users, items = (np.unique(parts.train.inputs[role].astype(str)) for role in ("user", "item"))
    mean = float(parts.train.target.mean())
    place = [_places(parts.train, "user", users), _places(parts.train, "item", items)]
    biases = [np.zeros(len(users) + 1), np.zeros(len(items) + 1)]
    for _ in range(rounds):
        for mine, other in ((0, 1), (1, 0)):
            left = parts.train.target - mean - biases[other][place[other]]
            counts = np.bincount(place[mine], minlength=len(biases[mine]))
            biases[mine] = np.bincount(place[mine], left, len(biases[mine])) / (counts + shrink)
    judged = [_places(parts.held_out, "user", users), _places(parts.held_out, "item", items)]
    said = mean + biases[0][judged[0]] + biases[1][judged[1]]
    return float(np.sqrt(np.mean((parts.held_out.target - said) ** 2)))


def _places(examples: Examples, role: str, known: Array) -> Array:
    """The place of each name among the known ones; the last place for a name never seen."""
    names = examples.inputs[role].astype(str)
    place = np.minimum(np.searchsorted(known, names), len(known) - 1)
    return np.where(known[place] == names, place, len(known))


L2 = Value(4.0, 0, 1e6, search=(1.0, 20.0), log=True)
SHARED: dict[str, Value | float | str] = {
    "epochs": 30,
    "batch_size": 512,
    "learning_rate": 5e-3,
    "patience": 3,
    "l2": L2,
}
FACTORS = descent.settings(**SHARED, factors=Value(8, 1, 1024, search=(2, 32), log=True))
BIASES = descent.settings(**SHARED, factors=Value(0, 0, 0))

TASK = Task(
    "ratings",
    load,
    MappingProxyType(
        {
            "factors": Algorithm(Engine.KERAS, factors, FACTORS),
            "biases": Algorithm(Engine.KERAS, factors, BIASES),
        }
    ),
    data_settings(user=Value(""), item=Value(""), rating=Value("")),
    more_scores=ranking,
)

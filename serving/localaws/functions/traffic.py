"""Which version answers an event that came to an alias? No I/O happens here."""

from __future__ import annotations

from collections.abc import Mapping

from serving.localaws.functions.catalog import Alias, invalid
from serving.localaws.functions.revision import LATEST


def choose(alias: Alias, draw: float) -> str:
    """The version for one event: ``draw`` is uniform in [0, 1)."""
    for version, share in alias.weights:
        if draw < share:
            return version
        draw -= share
    return alias.version


def check_weights(main: str, weights: Mapping[str, float], known: frozenset[str]) -> tuple[tuple[str, float], ...]:
    """The shares of an alias, if Lambda allows them: one more version, published, with a share in [0, 1].

    Raises:
        AwsError: It does not (docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html).
    """
    if not weights:
        return ()
    if LATEST in (main, *weights):
        raise invalid("$LATEST is not supported for an alias pointing to more than 1 version")
    if len(weights) > 1:
        raise invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
    for version, share in weights.items():
        if version == main:
            raise invalid(
                f"Invalid function version {version}. Function version {version} is already included in routing "
                "configuration."
            )
        if version not in known:
            raise invalid(f"Invalid function version {version}. Function version {version} does not exist.")
        if not 0.0 <= share <= 1.0:
            raise invalid(f"Invalid value for additional version weight: {share}. It must be between 0.0 and 1.0.")
    return tuple((version, float(share)) for version, share in weights.items() if share > 0)

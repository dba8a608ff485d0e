"""A deployer that is killed at any of its calls to AWS, and the next one that finishes what it began. Emulated.

Deployers are real processes, killed with kill -9 while the local AWS holds their call: before it is done, as if it had
never been sent, or when it is done and its answer under way. The next one is given another folder, with nothing in it.
Which calls there are is recorded, and what is left out unless SLIPWAY_KILL=all is told in `killing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import Bundle, build
from serving.localaws import running

from .conftest import release_of
from .deployers import Forker, forking
from .killing import killed_everywhere
from .plans import KINDS, Kind
from .test_deploy import environment
from .worlds import service


@pytest.fixture(scope="module")
def bundle(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build(release_of(network_files), network_files, tmp_path_factory.mktemp("killed") / "bundle")


@pytest.fixture(scope="module")
def forker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    """A local AWS, and who starts deployers there; no retries."""
    with running("--speed", "100") as variables, environment(**variables, AWS_MAX_ATTEMPTS="1"):
        service("cloudwatch").put_metric_alarm(
            AlarmName="quiet", Namespace="Any", MetricName="Bad", Statistic="Sum", Period=60, EvaluationPeriods=1,
            Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching")
        with forking(tmp_path_factory.mktemp("deployers")) as forker:
            yield forker


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_deployer_killed_at_any_call_is_finished_by_the_next(forker: Forker, bundle: Bundle, kind: Kind) -> None:
    killed = killed_everywhere(kind.plan(forker, bundle, "k"))
    assert kind.changes <= killed, "which calls there are is recorded, and others may come"

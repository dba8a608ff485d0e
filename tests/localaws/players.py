"""Who plays AWS in the differential tests, and what each is known to do otherwise: fixtures to import.

A difference is a strict xfail: the day a peer mends it, this says so. docs/local-aws.md shows the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.localaws.clients import client_for
from tests.localaws.peers import MINISTACK, MOTO, SEAWEEDFS, Peer, ours, started

BUCKET = "peers"
Account = Callable[[str], Any]
PLAYERS = (None, MOTO, MINISTACK, SEAWEEDFS)  # None: the local AWS

# What each peer does otherwise than AWS, seen with the versions that tests/localaws/peers.py names.
DIFFERENCES: dict[str, set[str]] = {
    "ours": set(),
    "moto": {
        "a_wrong_checksum_is_refused",
        "a_given_checksum_is_told",
        "a_wrong_secret_is_refused",
        "a_stale_revision_is_refused",
        "a_wrong_code_hash_is_not_published",
        "code_that_is_not_in_s3_is_refused",
        "a_runtime_that_does_not_exist_is_refused",
        "a_release_is_stored_once_and_proven_by_what_s3_computed",
        "a_large_file_is_stored_in_parts_and_proven_by_them",
        # it runs functions in Docker only
        "a_qualifier_chooses_the_version",
        "weights_share_the_traffic",
        "a_function_that_fails_says_so_in_the_header",
        "a_layer_is_on_the_path",
        "a_release_is_deployed_and_answers",
    },
    "ministack": {
        "a_wrong_secret_is_refused",  # unless it is started with AUTH=true
        "a_wrong_code_hash_is_not_published",
        "weights_share_the_traffic",
        "an_alias_to_a_missing_version_is_refused",
        "a_function_that_fails_says_so_in_the_header",  # the error's type is lost
        "a_runtime_that_does_not_exist_is_refused",
    },
    "seaweedfs": set(),
}


@pytest.fixture(scope="module", params=PLAYERS, ids=[one.name if one else "ours" for one in PLAYERS])
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Peer | None, Account]]:
    """An emulator that runs, and clients for it."""
    found: Peer | None = request.param
    folder = tmp_path_factory.mktemp("peer")
    with started(found, folder) if found else ours(folder) as environment:
        made: dict[str, Any] = {}

        def client(service: str) -> Any:
            if service not in made:
                made[service] = client_for(environment, service, checked=found is None)
            return made[service]

        if found is None:
            client("s3").create_bucket(Bucket=BUCKET)
        yield found.name if found else "ours", found, client


@pytest.fixture
def account(peer: tuple[str, Peer | None, Account], request: pytest.FixtureRequest) -> Account:
    """Clients of the emulator, if it plays what the test is about; a known difference is expected."""
    name, found, client = peer
    law = request.node.originalname.removeprefix("test_")
    service = "lambda" if request.node.get_closest_marker("usefixtures") or "deploy" in request.node.name else "s3"
    if found and service not in found.services:
        pytest.skip(f"{name} plays no {service}")
    if law in DIFFERENCES[name]:
        request.applymarker(pytest.mark.xfail(strict=True, reason=f"{name} differs from AWS here"))
    return client

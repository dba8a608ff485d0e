"""What does a command wait for, where a model was deployed ten, a thousand, ten thousand times?

    python -m benchmarks.journal [--entries 10 1000 10000] [--times 5]

One model in service on Lambda by two real deploys, on the local AWS, and a journal that is filled up in S3 to so many
entries. Each question is asked anew, with nothing cached, in turns with the way that reads the whole journal: listing
every key and fetching every entry. Beside the seconds stands how many requests reached S3. Trust the requests and the
ratio: the local AWS lists its keys slower than S3 does, the more there are, and answers without a network between.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.digits import release_of
from benchmarks.status import trained
from serving import Aws, Bundle, Settings, journal
from serving.bundle import build
from serving.deploy import Prepared, deploy
from serving.localaws import running
from serving.names import entry_key
from serving.status import models
from serving.target import Target
from serving.targets import open_target, target_of

MODEL = "m0"


def opened() -> tuple[Aws, Target]:
    """A place that nobody asked anything yet."""
    aws = Aws()
    return aws, open_target("lambda", aws, Settings())


def in_service(scratch: Path) -> Bundle:
    """Deploy two releases of one model, and give the bundle of the second."""
    files, bundles = trained(scratch), []
    for version in (1, 2):
        release, folder = replace(release_of(files), model=MODEL, version=version), scratch / f"{version}"
        folder.mkdir()
        bundles.append(build(release, files, folder / "bundle"))
        aws, target = opened()
        deploy(Prepared(release, bundles[-1], target.plan(bundles[-1], folder, lambda _: None)), aws, target,
               report=lambda *_: None)
    return bundles[-1]


def fill(count: int) -> None:
    """Deploy on, as the journal tells it: the two releases in turns, until it has so many entries."""
    aws, target = opened()
    logbook = target.logbook(MODEL)
    read = logbook.read()
    lasting = read[-4:]  # each release begun and done; the one that serves is the last again

    def write(number: int) -> None:
        entry = lasting[(number - count - 1) % len(lasting)].model_copy(update={"seq": number})
        aws.storage.create_bytes(logbook.bucket, entry_key(logbook.prefix, number), entry.to_bytes())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(len(read) + 1, count + 1)))


def whole() -> None:
    """The whole journal: every key, every entry."""
    aws, target = opened()
    logbook = target.logbook(MODEL)
    keys = aws.storage.keys(logbook.bucket, logbook.prefix)
    for body, key in zip(aws.storage.read_unchanging(logbook.bucket, keys), keys, strict=True):
        journal.parse(body, key, logbook.shape)


def questions(bundle: Bundle) -> dict[str, Callable[[], object]]:
    """What the commands ask of AWS; what they do beside it is the same for every journal."""

    def plan() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            if opened()[1].plan(bundle, Path(scratch), lambda _: None):
                raise SystemExit("it is in service: nothing is to be planned")

    def deployed() -> None:
        aws, settings = Aws(), Settings()
        models(aws, settings)
        target_of(MODEL, None, aws, settings)

    return {
        "which models (status)": deployed,
        "what serves (status)": lambda: opened()[1].in_service(MODEL, thoroughly=False),
        "plan; deploy of what is in service": plan,
        "plan of a rollback": lambda: opened()[1].plan_back(MODEL, None),
        "verify": lambda: opened()[1].in_service(MODEL, thoroughly=True),
        "the whole journal": whole,
    }


def requests() -> Iterator[str]:
    """Which requests reached S3 since this was asked last?"""
    where = f"{os.environ['AWS_ENDPOINT_URL']}/_slipway/calls"
    with urllib.request.urlopen(where) as answer:  # noqa: S310 - the local AWS
        yield from (call["operation"] for call in json.loads(answer.read()) if call["service"] == "s3")
    urllib.request.urlopen(urllib.request.Request(where, method="DELETE")).close()  # noqa: S310 - as above


def measured(asked: dict[str, Callable[[], object]], times: int) -> dict[str, dict[str, Any]]:
    """Medians of the seconds, the questions in turns, and the requests to S3 of one time."""
    took: dict[str, list[float]] = {name: [] for name in asked}
    reached: dict[str, int] = {}
    for _ in range(times):
        for name, ask in asked.items():
            list(requests())
            start = time.perf_counter()
            ask()
            took[name].append(time.perf_counter() - start)
            reached[name] = len(list(requests()))
    return {name: {"s": round(statistics.median(took[name]), 3), "requests to S3": reached[name]} for name in asked}


@contextmanager
def place() -> Iterator[Path]:
    """A local AWS, reached by this process, and a folder; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="slipway-benchmark-") as folder, running() as aws:
        os.environ.update(aws, SLIPWAY_USER="cy")
        yield Path(folder)


def main() -> None:
    """Print what was seen, and keep it."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--entries", type=int, nargs="+", default=[10, 1000, 10_000])
    ask.add_argument("--times", type=int, default=5)
    asked = ask.parse_args()
    with place() as scratch:
        asking, seen = questions(in_service(scratch)), {}
        for count in sorted(asked.entries):
            fill(count)
            seen[f"{count} entries"] = measured(asking, asked.times)
    print(json.dumps(seen, indent=1))
    record.write("journal", record.machine(("boto3",)), {**vars(asked), **seen})


if __name__ == "__main__":
    main()

"""How long does a person wait for `slipway status`, where the registry is large and much was deployed?

    python -m benchmarks.status [--models 1000] [--versions 10] [--deployed 5] [--deployments 10] [--times 5]

Whole processes, Python's start included: a registry in SQLite as in `benchmarks.registry`, the local AWS, some models
in service on Lambda by real deploys, and a journal of so many deployments for each. The processor's seconds are given
too: they grow less with what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks import record
from benchmarks.digits import release_of
from benchmarks.registry import EVIDENCE, fill, governed
from registry.store import GovernedStore
from serving import Aws, Settings
from serving.bundle import build
from serving.deploy import Prepared, deploy
from serving.localaws import running
from serving.logbook import bucket_of
from serving.names import journal_prefix
from serving.targets import open_target

COMMANDS = {"slipway status MODEL": ["status", "m0"], "slipway status": ["status"]}


def trained(scratch: Path) -> Path:
    """A small scikit-learn model's files, as MLflow keeps them."""
    import mlflow

    from train import Request, train

    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{scratch}/trained.db"
    here = Path.cwd()
    os.chdir(scratch)
    try:
        made = train(Request("tabular", algorithm="linear"))
        return Path(mlflow.artifacts.download_artifacts(made.source, dst_path=str(scratch / "files")))
    finally:
        os.chdir(here)


def in_service(models: int, deployments: int, scratch: Path) -> None:
    """Deploy that model under so many names, and write as many deployments into each one's journal."""
    aws, settings, files = Aws(), Settings(), trained(scratch)
    target, bucket = open_target("lambda", aws, settings), bucket_of(aws, settings)
    for name in [f"m{m}" for m in range(models)]:
        release, folder = replace(release_of(files), model=name, digest=EVIDENCE.digest), scratch / name
        folder.mkdir()
        bundle = build(release, files, folder / "bundle")
        prepared = Prepared(release, bundle, target.plan(bundle, folder, lambda _: None))
        deploy(prepared, aws, target, report=lambda *_: None)
        *_, began, done = target.logbook(name).read()
        for entry in (began, done):
            for again in range(1, deployments):
                later = entry.model_copy(update={"seq": entry.seq + 2 * again})
                key = f"{journal_prefix(name, 'lambda')}{later.seq:06}.json"
                aws.storage.create_bytes(bucket, key, later.to_bytes())


def measured(words: list[str], env: Mapping[str, str], times: int) -> dict[str, float]:
    """Medians of whole processes, after a first that nobody counts: seconds to wait, and seconds of processor."""
    waited, worked = [], []
    for _ in range(times + 1):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "slipway", *words]
        done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        waited.append(time.perf_counter() - start)
        worked.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if "drift     none" not in done.stdout:
            raise SystemExit(f"this is no status of what is in order:\n{done.stdout}{done.stderr}")
    return {"s": round(statistics.median(waited[1:]), 2), "processor s": round(statistics.median(worked[1:]), 2)}


def main() -> None:
    """Print what was seen, and keep it."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("models", 1000), ("versions", 10), ("deployed", 5), ("deployments", 10), ("times", 5)):
        ask.add_argument(f"--{name}", type=int, default=usual)
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-benchmark-") as folder, running() as aws:
        os.environ.update(aws, SLIPWAY_USER="cy")
        database = f"sqlite:///{folder}/registry.db"
        store = GovernedStore(database)
        entries = fill(store, asked.models, asked.versions)
        for m in range(asked.deployed):
            governed(store, f"m{m}", 1)
        in_service(asked.deployed, asked.deployments, Path(folder))
        env = {**os.environ, "MLFLOW_TRACKING_URI": database, "PYTHONPATH": str(Path.cwd())}
        for name in ("MLFLOW_REGISTRY_URI", "PYTHONDONTWRITEBYTECODE"):  # an installed command has its bytecode
            env.pop(name, None)
        seen = {name: measured(words, env, asked.times) for name, words in COMMANDS.items()}
    print(json.dumps(seen, indent=1))
    where = record.machine(("mlflow", "boto3", "sqlalchemy"))
    record.write("status", where, {**vars(asked), "entries": entries, **seen})


if __name__ == "__main__":
    main()

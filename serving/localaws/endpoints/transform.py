"""Batch transform: a model over all objects of a prefix, each answer beside its name with ``.out``.

https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from serving.localaws import account
from serving.localaws.account import Location, ObjectMissing
from serving.localaws.endpoints.container import Container
from serving.localaws.endpoints.deployment import Blueprint, StartFailed, Workshop
from serving.localaws.endpoints.limits import INVOCATION_SECONDS, STARTUP_SECONDS, TRANSFORM_PAYLOAD_MIB
from serving.localaws.endpoints.records import Settings, Shelf, invalid, now
from serving.localaws.endpoints.registry import Shelves, listed
from serving.localaws.errors import AwsError
from serving.localaws.protocol import Call, Members, Operation

_LOG_GROUP = "/aws/sagemaker/TransformJobs"


class JobStatus(Enum):
    """A transform job's state, in SageMaker's words."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"


@dataclass(slots=True)
class Job:
    """One batch transform."""

    name: str
    arn: str
    settings: Settings
    created: datetime = field(default_factory=now)
    ended: datetime | None = None
    status: JobStatus = JobStatus.IN_PROGRESS
    failure: str = ""
    stop: threading.Event = field(default_factory=threading.Event)


class TransformFailed(Exception):
    """Why did a batch transform fail?"""


class TransformControl:
    """Runs and describes transform jobs."""

    def __init__(self, shelves: Shelves, shop: Workshop) -> None:
        self._shelves = shelves
        self._shop = shop
        self._jobs: dict[str, dict[str, Job]] = {}

    def operations(self) -> Mapping[str, Operation]:
        """SageMaker's names of what is done here."""
        return {
            "CreateTransformJob": self.create,
            "DescribeTransformJob": self.describe,
            "StopTransformJob": self.stop,
            "ListTransformJobs": self.list_all,
        }

    def create(self, call: Call) -> Members:
        """CreateTransformJob."""
        params, shelf = call.params, self._shelves[call.region]
        jobs, name = self._jobs.setdefault(call.region, {}), params["TransformJobName"]
        arn = shelf.arn("transform-job", name)
        if name in jobs:
            raise AwsError(
                "ResourceInUse", f"Job name must be unique within an AWS account and region, and {arn} exists."
            )
        if any((params.get("DataProcessing") or {}).get(key) for key in ("InputFilter", "OutputFilter")):
            raise invalid("The local AWS has no DataProcessing filters.")
        blueprint = self._blueprint(shelf, params)
        job = jobs[name] = Job(name, arn, params)
        threading.Thread(target=self._run, args=(job, blueprint), daemon=True).start()
        return {"TransformJobArn": arn}

    @staticmethod
    def _blueprint(shelf: Shelf, params: Members) -> Blueprint:
        model = shelf.model(params["ModelName"])
        container = dict(model.settings.get("PrimaryContainer") or model.settings["Containers"][0])
        container["Environment"] = {
            **(container.get("Environment") or {}),
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(params.get("MaxPayloadInMB", TRANSFORM_PAYLOAD_MIB)),
            **(params.get("Environment") or {}),
        }
        return Blueprint(container, bool(model.settings.get("EnableNetworkIsolation")), shelf.region, _LOG_GROUP)

    def _run(self, job: Job, blueprint: Blueprint) -> None:
        try:
            container = blueprint.start(self._shop, job.name)
            try:
                self._transform(job, container)
            finally:
                container.kill()
        except (StartFailed, TransformFailed, AwsError, ObjectMissing) as error:
            job.failure, job.ended, job.status = str(error), now(), JobStatus.FAILED
            return
        job.ended, job.status = now(), JobStatus.STOPPED if job.stop.is_set() else JobStatus.COMPLETED

    @staticmethod
    def _transform(job: Job, container: Container) -> None:
        problem = container.wait_healthy(STARTUP_SECONDS, job.name)
        if problem:
            raise StartFailed(problem)
        source = Location.parse(job.settings["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
        found = list(account.list_objects(source))
        if not found:
            raise TransformFailed(f"No S3 objects found under S3 URL {source}.")
        for place in found:
            if job.stop.is_set():
                return
            answers = [_ask(container, record, job) for record in records(account.read_object(place), job.settings)]
            account.write_object(_target(source, place, job.settings), _joined(answers, job.settings))

    def _find(self, call: Call) -> Job:
        name = call.params["TransformJobName"]
        jobs = self._jobs.get(call.region, {})
        if name not in jobs:
            arn = self._shelves[call.region].arn("transform-job", name)
            raise AwsError("ResourceNotFound", f"Could not find transform job with name {arn}.")
        return jobs[name]

    def describe(self, call: Call) -> Members:
        """DescribeTransformJob."""
        job = self._find(call)
        answer = {
            **{name: value for name, value in job.settings.items() if name != "Tags"},
            "TransformJobArn": job.arn,
            "TransformJobStatus": job.status.value,
            "CreationTime": job.created,
            "TransformStartTime": job.created,
            "TransformEndTime": job.ended,
            "FailureReason": job.failure,
        }
        return {name: value for name, value in answer.items() if value not in (None, "")}

    def stop(self, call: Call) -> Members:
        """StopTransformJob: after the object that is being worked on."""
        self._find(call).stop.set()
        return {}

    def list_all(self, call: Call) -> Members:
        """ListTransformJobs, in one page."""
        found: list[Job] = listed(self._jobs.get(call.region, {}), call.params)
        return {
            "TransformJobSummaries": [
                {
                    "TransformJobName": job.name,
                    "TransformJobArn": job.arn,
                    "CreationTime": job.created,
                    "TransformJobStatus": job.status.value,
                }
                for job in found
            ]
        }


def records(content: bytes, settings: Settings) -> Iterator[bytes]:
    """What is sent in one request each: whole objects, lines, or as many lines as fit."""
    split = settings["TransformInput"].get("SplitType", "None")
    if split == "None":
        yield content
        return
    if split != "Line":
        raise TransformFailed(f"The local AWS splits input by Line only, not by {split}.")
    lines = content.splitlines(keepends=True)
    if settings.get("BatchStrategy", "MultiRecord") == "SingleRecord":
        yield from lines
        return
    limit = int(settings.get("MaxPayloadInMB") or TRANSFORM_PAYLOAD_MIB) * 1024 * 1024
    batch = b""
    for line in lines:
        if batch and len(batch) + len(line) > limit:
            yield batch
            batch = b""
        batch += line
    if batch:
        yield batch


def _ask(container: Container, record: bytes, job: Job) -> bytes:
    headers = {"Content-Type": job.settings["TransformInput"].get("ContentType", "application/octet-stream")}
    accept = job.settings["TransformOutput"].get("Accept")
    if accept:
        headers["Accept"] = accept
    seconds = float(
        (job.settings.get("ModelClientConfig") or {}).get("InvocationsTimeoutInSeconds") or INVOCATION_SECONDS
    )
    reply = container.invoke(record, headers, seconds)
    if reply.status != 200:
        text = reply.body.decode("utf-8", "replace")[:256]
        raise TransformFailed(
            f"ClientError: See job logs for more information: the model answered {reply.status}: {text}"
        )
    return reply.body


def _target(source: Location, place: Location, settings: Settings) -> Location:
    output = Location.parse(settings["TransformOutput"]["S3OutputPath"])
    folder = source.key.rpartition("/")[0]
    relative = place.key[len(folder) :].lstrip("/")
    return Location(output.bucket, "/".join(filter(None, [output.key.strip("/"), f"{relative}.out"])))


def _joined(answers: list[bytes], settings: Settings) -> bytes:
    if settings["TransformOutput"].get("AssembleWith", "None") == "Line":
        return b"".join(answer.rstrip(b"\n") + b"\n" for answer in answers)
    return b"".join(answers)

"""InvokeEndpoint and InvokeEndpointAsync: from a request to the answer of one container."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serving.localaws import account
from serving.localaws.account import Location, ObjectMissing
from serving.localaws.endpoints import capture
from serving.localaws.endpoints.container import Reply
from serving.localaws.endpoints.deployment import Deployment, VariantFleet, choose, shadow_share
from serving.localaws.endpoints.limits import ASYNC_SECONDS, INVOCATION_SECONDS, SERVERLESS_BYTES
from serving.localaws.endpoints.records import Endpoint, Settings, now
from serving.localaws.endpoints.registry import Shelves
from serving.localaws.errors import AwsError
from serving.localaws.protocol import Call, Members, Operation

_PASSED_ON = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "TargetModel": "X-Amzn-SageMaker-Target-Model",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
}
_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


class EndpointInvoker:
    """Sends requests to endpoints.

    Args:
        draw: A number in [0, 1) for every choice: fleet, variant, shadow, capture.
    """

    def __init__(self, shelves: Shelves, *, draw: Callable[[], float] = random.random) -> None:
        self._shelves = shelves
        self._draw = draw

    def operations(self) -> Mapping[str, Operation]:
        """SageMaker Runtime's names of what is done here."""
        return {"InvokeEndpoint": self.invoke, "InvokeEndpointAsync": self.invoke_async}

    def invoke(self, call: Call) -> Members:
        """InvokeEndpoint."""
        endpoint = self._endpoint(call)
        if endpoint.config.settings.get("AsyncInferenceConfig"):
            raise _invalid(f"Endpoint {endpoint.name} is asynchronous. Use InvokeEndpointAsync.")
        deployment = self._enter(endpoint)
        try:
            return self._invoke(endpoint, deployment, call.params)
        finally:
            deployment.leave()

    def _invoke(self, endpoint: Endpoint, deployment: Deployment, params: Members) -> Members:
        fleet = self._fleet(deployment, params.get("TargetVariant"))
        body, headers = bytes(params.get("Body") or b""), _headers(params)
        if fleet.variant.serverless and len(body) > SERVERLESS_BYTES:
            raise _invalid(f"Request body of {len(body)} bytes is over the limit of {SERVERLESS_BYTES} bytes.")
        reply = self._send(endpoint, fleet, body, headers)
        self._shadow(endpoint, deployment, body, headers)
        settings: Settings | None = deployment.config.settings.get("DataCaptureConfig")
        if settings and capture.wanted(settings, self._draw()):
            variant = fleet.variant.name
            exchange = capture.Exchange(endpoint.name, variant, headers, body, reply, params.get("InferenceId", ""))
            capture.write(exchange, settings, now())
        return _answer(endpoint, fleet, reply)

    def _endpoint(self, call: Call) -> Endpoint:
        name = call.params["EndpointName"]
        endpoint = self._shelves[call.region].endpoints.get(name)
        if endpoint is None or endpoint.serving is None:
            raise _invalid(f"Endpoint {name} of account {call.account} not found.")
        return endpoint

    def _enter(self, endpoint: Endpoint) -> Deployment:
        """The deployment for one request; one that is being retired sends it to its successor."""
        while True:
            deployment = self._deployment(endpoint)
            if deployment.enter():
                return deployment
            if endpoint.deleted:
                raise _invalid(f"Endpoint {endpoint.name} not found.")
            time.sleep(0.001)

    def _deployment(self, endpoint: Endpoint) -> Deployment:
        serving, pending = endpoint.serving, endpoint.pending
        assert serving is not None  # noqa: S101 - `_endpoint` has seen to it
        green = pending is not None and endpoint.percent > 0 and self._draw() * 100 < endpoint.percent
        return pending if green and pending is not None else serving

    def _fleet(self, deployment: Deployment, target: str | None) -> VariantFleet:
        if target is not None:
            if target not in deployment.fleets:
                raise _invalid(f"Variant {target} not found in endpoint configuration {deployment.config.name}.")
            return deployment.fleets[target]
        fleet = choose(list(deployment.fleets.values()), self._draw())
        if fleet is None:
            raise _invalid("All production variants of the endpoint have a weight of zero.")
        return fleet

    def _send(self, endpoint: Endpoint, fleet: VariantFleet, body: bytes, headers: Mapping[str, str]) -> Reply:
        if not fleet.slots.acquire(blocking=False):
            raise AwsError("ThrottlingException", "Rate exceeded", status=429)
        started = time.monotonic()
        try:
            reply = fleet.next().invoke(body, headers, INVOCATION_SECONDS)
        finally:
            fleet.slots.release()
        _count(endpoint, fleet.variant.name, reply, (time.monotonic() - started) * 1e6)
        return reply

    def _shadow(self, endpoint: Endpoint, deployment: Deployment, body: bytes, headers: Mapping[str, str]) -> None:
        """Copy the request to the shadow variants; what they answer nobody gets, but it is captured."""
        settings: Settings | None = deployment.config.settings.get("DataCaptureConfig")
        for shadow in deployment.shadows.values():
            if self._draw() < shadow_share(shadow.variant, list(deployment.fleets.values())):
                arguments = (endpoint, shadow, body, headers, settings)
                threading.Thread(target=self._run_shadow, args=arguments, daemon=True).start()

    def _run_shadow(
        self,
        endpoint: Endpoint,
        fleet: VariantFleet,
        body: bytes,
        headers: Mapping[str, str],
        settings: Settings | None,
    ) -> None:
        reply = self._send(endpoint, fleet, body, headers)
        if settings and capture.wanted(settings, self._draw()):
            capture.write(capture.Exchange(endpoint.name, fleet.variant.name, headers, body, reply), settings, now())

    def invoke_async(self, call: Call) -> Members:
        """InvokeEndpointAsync: the answer, or the failure, is put to S3 later."""
        params, endpoint = call.params, self._endpoint(call)
        settings: Settings | None = endpoint.config.settings.get("AsyncInferenceConfig")
        if not settings:
            raise _invalid(f"Endpoint {endpoint.name} is not an asynchronous endpoint.")
        body = _async_input(params)
        inference_id = params.get("InferenceId") or str(uuid.uuid4())
        output = settings["OutputConfig"]
        root = _under(output.get("S3OutputPath") or _bucket_of(params), params.get("S3OutputPathExtension") or "")
        target = _under(str(root), params.get("Filename") or f"{uuid.uuid4()}.out")
        failure = _under(output.get("S3FailurePath") or str(root), f"{uuid.uuid4()}-error.out")
        headers = _headers({**params, "InferenceId": inference_id})
        later = _Later(body, headers, target, failure, float(params.get("InvocationTimeoutSeconds") or ASYNC_SECONDS))
        threading.Thread(target=self._run_async, args=(endpoint, later), daemon=True).start()
        return {"InferenceId": inference_id, "OutputLocation": str(target), "FailureLocation": str(failure)}

    def _run_async(self, endpoint: Endpoint, later: _Later) -> None:
        deployment = self._enter(endpoint)
        try:
            fleet = self._fleet(deployment, None)
            with fleet.queue:
                started = time.monotonic()
                reply = fleet.next().invoke(later.body, later.headers, later.seconds)
            _count(endpoint, fleet.variant.name, reply, (time.monotonic() - started) * 1e6)
        finally:
            deployment.leave()
        account.write_object(later.target if reply.status == 200 else later.failure, reply.body)


@dataclass(frozen=True, slots=True)
class _Later:
    """One asynchronous request, and where its answer or failure goes."""

    body: bytes
    headers: Mapping[str, str]
    target: Location
    failure: Location
    seconds: float


def _async_input(params: Members) -> bytes:
    """The request, as it lies in S3 or as it came with the call."""
    if params.get("Body"):
        return bytes(params["Body"])
    if not params.get("InputLocation"):
        raise _invalid("InputLocation or Body is required.")
    source = Location.parse(params["InputLocation"])
    try:
        return account.read_object(source)
    except ObjectMissing as error:
        raise _invalid(f"The input at {source} cannot be read: {error.message}") from error


def _bucket_of(params: Members) -> str:
    if not params.get("InputLocation"):
        raise _invalid("The endpoint has no S3OutputPath, and no InputLocation says whose bucket is meant.")
    return f"s3://{Location.parse(params['InputLocation']).bucket}/"


def _answer(endpoint: Endpoint, fleet: VariantFleet, reply: Reply) -> Members:
    if reply.status != 200:
        raise _model_error(endpoint, reply)
    answer: Members = {
        "Body": reply.body,
        "ContentType": reply.headers.get("content-type", "application/octet-stream"),
        "InvokedProductionVariant": fleet.variant.name,
    }
    if _ATTRIBUTES in reply.headers:
        answer["CustomAttributes"] = reply.headers[_ATTRIBUTES]
    return answer


def _model_error(endpoint: Endpoint, reply: Reply) -> AwsError:
    region, account_id, text = *endpoint.arn.split(":")[3:5], reply.body.decode("utf-8", "replace")
    side = "client" if 400 <= reply.status < 500 else "server"
    address = (
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:"
        f"group=/aws/sagemaker/Endpoints/{endpoint.name}"
    )
    message = (
        f'Received {side} error ({reply.status}) from primary with message "{text[:1024]}". '
        f"See {address} in account {account_id} for more information."
    )
    fields = {
        "OriginalStatusCode": reply.status,
        "OriginalMessage": text,
        "LogStreamArn": f"arn:aws:logs:{region}:{account_id}:log-group:/aws/sagemaker/Endpoints/{endpoint.name}",
    }
    return AwsError("ModelError", message, status=424, fields=fields)


def _headers(params: Members) -> dict[str, str]:
    headers = {header: params[member] for member, header in _PASSED_ON.items() if params.get(member)}
    return {"Content-Type": "application/octet-stream", **headers}


def _under(address: str, name: str) -> Location:
    place = Location.parse(address)
    return Location(place.bucket, "/".join(filter(None, [place.key.strip("/"), name])))


def _count(endpoint: Endpoint, variant: str, reply: Reply, microseconds: float) -> None:
    values = {
        "Invocations": 1.0,
        "ModelLatency": microseconds,
        "OverheadLatency": 0.0,
        "Invocation4XXErrors": float(400 <= reply.status < 500),
        "Invocation5XXErrors": float(reply.status >= 500 or reply.status == 0),
        "InvocationModelErrors": float(reply.status != 200),
    }
    region = endpoint.arn.split(":")[3]
    dimensions = {"EndpointName": endpoint.name, "VariantName": variant}
    account.put_metrics(region, "AWS/SageMaker", values, dimensions)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)

"""Invoke: from an event at the door to the function's answer, with its log in CloudWatch."""

from __future__ import annotations

import base64
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serving.localaws import account
from serving.localaws.errors import AwsError
from serving.localaws.functions.catalog import Function, Name
from serving.localaws.functions.control import FunctionControl
from serving.localaws.functions.environment import Outcome
from serving.localaws.functions.host import FunctionHost
from serving.localaws.functions.limits import ASYNCHRONOUS_BYTES, LOG_TAIL_BYTES, SYNCHRONOUS_BYTES
from serving.localaws.functions.revision import Revision
from serving.localaws.functions.traffic import choose
from serving.localaws.protocol import Call, Members, Operation

_RETRIES = 2  # an asynchronous event is tried three times in all


@dataclass(frozen=True, slots=True)
class Route:
    """Where an event goes: the revision that answers, and the ARN that was asked."""

    function: Function
    revision: Revision
    invoked_arn: str


class Invoker:
    """Answers Invoke.

    Args:
        draw: A number in [0, 1) for each event that comes to an alias.
    """

    def __init__(
        self, functions: FunctionControl, host: FunctionHost, *, draw: Callable[[], float] = random.random
    ) -> None:
        self._functions = functions
        self._host = host
        self._draw = draw

    def operations(self) -> Mapping[str, Operation]:
        """Lambda's names of what is done here."""
        return {"Invoke": self.invoke}

    def invoke(self, call: Call) -> Members:
        """Invoke: waits for the answer, or queues the event, or only checks."""
        params = call.params
        route = self.route(call.region, Name.parse(params["FunctionName"], params.get("Qualifier")))
        payload = bytes(params.get("Payload") or b"{}")
        kind = params.get("InvocationType", "RequestResponse")
        _check_payload(payload, kind)
        version = route.revision.version
        if kind == "DryRun":
            return {"StatusCode": 204, "ExecutedVersion": version}
        if kind == "Event":
            threading.Thread(target=self._run_queued, args=(route, payload), daemon=True).start()
            return {"StatusCode": 202, "ExecutedVersion": version}
        outcome = self.run(route, payload, params.get("ClientContext", ""))
        answer: Members = {"StatusCode": 200, "ExecutedVersion": version, "Payload": outcome.body}
        if outcome.failed:
            answer["FunctionError"] = "Unhandled"
        if params.get("LogType") == "Tail":
            text = "\n".join(outcome.log).encode() + b"\n"
            answer["LogResult"] = base64.b64encode(text[-LOG_TAIL_BYTES:]).decode()
        return answer

    def route(self, region: str, name: Name) -> Route:
        """Which revision answers this event? An alias with weights draws each time."""
        function = self._functions.catalog(region).function(name)
        alias = function.aliases.get(name.qualifier or "")
        revision = function.resolve(choose(alias, self._draw()) if alias else name.qualifier)
        return Route(function, revision, revision.arn + (f":{name.qualifier}" if name.qualifier else ""))

    def run(self, route: Route, payload: bytes, client_context: str = "") -> Outcome:
        """Have the event answered; logs and metrics are written as Lambda writes them."""
        revision, region = route.revision, route.revision.arn.split(":")[3]
        try:
            outcome, stream = self._host.invoke(
                revision,
                payload,
                route.invoked_arn,
                reserved=route.function.reserved,
                client_context=_context(client_context),
            )
        except AwsError:
            account.put_metrics(region, "AWS/Lambda", {"Throttles": 1}, {"FunctionName": revision.name})
            raise
        account.write_log(region, f"/aws/lambda/{revision.name}", stream, outcome.log)
        _count(route, outcome, region)
        return outcome

    def _run_queued(self, route: Route, payload: bytes) -> None:
        for _ in range(1 + _RETRIES):
            try:
                if not self.run(route, payload).failed:
                    return
            except AwsError:
                continue


def _count(route: Route, outcome: Outcome, region: str) -> None:
    values = {"Invocations": 1.0, "Errors": float(outcome.failed), "Duration": outcome.duration_ms}
    name = route.revision.name
    qualifier = route.invoked_arn.removeprefix(route.revision.arn).lstrip(":")
    account.put_metrics(region, "AWS/Lambda", values, {"FunctionName": name})
    if qualifier:
        resource = {"FunctionName": name, "Resource": f"{name}:{qualifier}"}
        account.put_metrics(region, "AWS/Lambda", values, resource)
        # What a canary alarm watches: an alias's events by the version that answered them.
        account.put_metrics(region, "AWS/Lambda", values, {**resource, "ExecutedVersion": route.revision.version})


def _check_payload(payload: bytes, kind: str) -> None:
    limit = ASYNCHRONOUS_BYTES if kind == "Event" else SYNCHRONOUS_BYTES
    if len(payload) > limit:
        message = f"{len(payload)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
        raise AwsError("RequestTooLargeException", message, status=413, fields={"Type": "User"})


def _context(encoded: str) -> str:
    return base64.b64decode(encoded).decode() if encoded else ""

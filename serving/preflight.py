"""What stands against a deployment, looked at before anything changes, and told all at once.

A dry read proves that this caller may read what the deployment reads: AWS judges it as it would judge the deployment's
own call. It cannot prove that something may be changed. `iam:SimulatePrincipalPolicy`, where the caller may ask it,
tells what the caller's own policies say to that; it knows no policies of buckets and keys, none of the organisation,
and no session that was narrowed further, so that its yes is a likely yes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .aws import Aws
from .config import Settings
from .errors import AwsFailed, AwsMissing, ConfigurationInvalid, PreflightFailed
from .iam import Account, policy
from .limits import Limit
from .names import DEPLOYMENTS

# How services say that a caller may not; S3 answers a HEAD with the bare status.
DENIED = {"AccessDenied", "AccessDeniedException", "403", "Forbidden", "UnauthorizedOperation", "AuthorizationError"}
READING = ("Get", "List", "Describe", "Filter", "Head")


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what was found? ``problem`` says what stands against it and what to do next."""

    what: str
    found: str
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.problem or self.found}"


def require(checks: Sequence[Check]) -> tuple[Check, ...]:
    """May the deployment begin? Gives the checks back.

    Raises:
        PreflightFailed: no; every problem is named.
    """
    wrong = [str(check) for check in checks if check.problem]
    if wrong:
        many = f"{len(wrong)} thing{'' if len(wrong) == 1 else 's'}"
        raise PreflightFailed(f"nothing was changed, for {many} stand{'s' if len(wrong) == 1 else ''} against it:\n  "
                              + "\n  ".join(wrong))
    return tuple(checks)


def named(model: str, name: Callable[[Settings, str], str], settings: Settings) -> str:
    """What is the model called on AWS?

    Raises:
        PreflightFailed: it cannot be called that there.
    """
    try:
        return name(settings, model)
    except ConfigurationInvalid as error:
        require([Check("name", model, str(error))])
        raise


def stored(aws: Aws, bucket: str, name: str) -> dict[str, Callable[[], object]]:
    """What every deployment reads in S3, to be tried by `readable`; ``name`` is the model's on AWS."""
    return {"s3:ListBucket": lambda: aws.storage.page(bucket, f"{DEPLOYMENTS}{name}/"),
            "s3:GetObject": lambda: aws.storage.object(bucket, f"releases/{name}")}  # 404 only to who might get it


def readable(calls: Mapping[str, Callable[[], object]], target: str) -> list[Check]:
    """May the caller read what a deployment reads? Each action is tried.

    Args:
        calls: for each IAM action a call that needs it; that nothing is there to be read is no problem.
        target: for which the policies are printed that would allow it.

    Raises:
        AwsFailed: AWS could not be asked.
    """
    refused = []
    for action, call in calls.items():
        try:
            call()
        except AwsMissing as error:
            if error.code == "NoSuchBucket":
                return [Check("bucket", "missing", f"{error}. Next: slipway iam --cloudformation prints a stack that "
                                                   "makes it; or name another in slipway.yaml, or the region where "
                                                   "it is (AWS_REGION)")]
        except AwsFailed as error:
            if error.code not in DENIED:
                raise
            refused.append(Check("permission", action, f"{action} is refused. Next: slipway iam --target {target} "
                                                       "--role deployer prints what has to be allowed"))
    return refused or [Check("permissions to read", f"{len(calls)} of {len(calls)} reads allowed")]


def changeable(aws: Aws, settings: Settings, model: str, target: str) -> list[Check]:
    """May the caller change what a deployment changes, as far as its own policies tell? Not known is no problem."""
    what, asked, refused = "permissions to change", 0, dict[str, Check]()
    where = Account(aws.account(), aws.region)
    needed = [one for who in ("publisher", "deployer") for one in policy(who, target, settings, where).statements]
    try:
        for one in needed:
            actions = [action for action in one.actions if not action.split(":")[1].startswith(READING)]
            asked += len(actions)
            context = {condition.key: condition.values for condition in one.conditions}
            resources = [resource if resource == "*" else resource.replace("*", model) for resource in one.resources]
            for action in aws.identity.denied(actions, resources, context) if actions else ():
                refused[action] = Check("permission", action, f"{action} is not allowed to {aws.identity.arn}. Next: "
                                        f"slipway iam --target {target} prints the policies of publisher and deployer")
    except AwsFailed as error:
        why = "iam:SimulatePrincipalPolicy is not allowed" if error.code in DENIED else str(error)
        return [Check(what, f"not known: {why}")]
    return list(refused.values()) or [Check(what, f"{asked} of {asked} actions allowed, by the caller's own policies")]


def role(aws: Aws, name: str) -> Check:
    """Is the execution role there? Not known, where the caller may not look, is no problem."""
    try:
        aws.identity.require_role(name)
    except AwsMissing:
        return Check("execution role", "missing", f"there is no role {name}. Next: slipway iam --cloudformation prints "
                                                  "a stack that makes it, or name another in slipway.yaml")
    except AwsFailed as error:
        if error.code not in DENIED:
            raise
        return Check("execution role", f"{name}; not known whether it is there: iam:GetRole is not allowed")
    return Check("execution role", name)


def key(aws: Aws, name: str | None, where: str) -> list[Check]:
    """Can the KMS key be used? Not known, where the caller may not look, is no problem. ``where`` it is named."""
    if not name:
        return []
    try:
        state = aws.keys.state(name)
    except AwsMissing:
        return [Check("key", "missing", f"{where}: there is no KMS key {name}. Next: make it, or name another")]
    except AwsFailed as error:
        if error.code not in DENIED:
            raise
        return [Check("key", f"{name}; not known whether it can be used: kms:DescribeKey is not allowed")]
    problem = "" if state == "Enabled" else f"{where}: the KMS key {name} is {state}. Next: enable it, or name another"
    return [Check("key", f"{name}: {state}", problem)]


def alarms(aws: Aws, names: Sequence[str], key: str) -> list[Check]:
    """Are the alarms there that shall watch, and silent? ``key`` is where slipway.yaml names them."""
    if not names:
        return []
    try:
        states = aws.metrics.alarms(names)
    except AwsFailed as error:
        if error.code not in DENIED:
            raise
        return []  # `readable` has told
    found = [Check("alarm", name, f"no alarm is called {name}. Next: make it, or take it out of {key}")
             for name in names if name not in states]
    found += [Check("alarm", name, f"{name} is firing already, and would send the new release back at once. Next: see "
                                   f"to it or to its threshold; to deploy what mends it, leave it out of {key} once")
              for name, state in states.items() if state == "ALARM"]
    return found or [Check("alarms", f"{', '.join(names)}: {', '.join(sorted(set(states.values())))}")]


def size(what: str, found: int, limit: Limit, advice: str) -> Check:
    """Is it no larger than it may be?"""
    told = f"{found / 1e6:.1f} of {limit.most / 1e6:.0f} MB"
    problem = f"{told}; {limit.what} may have no more ({limit.source}). Next: {advice}" if found > limit.most else ""
    return Check(what, told, problem)


def loads(model: int, memory: int, key: str) -> Check:
    """Can a model of so many bytes be loaded into so many MB? It takes at least its own size."""
    found = f"{model / 1e6:.1f} MB of model in {memory} MB"
    problem = f"{found}: it cannot even be read. Next: a larger {key}" if model > memory * 1_048_576 else ""
    return Check("memory", found, problem)

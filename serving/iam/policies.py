"""What publisher, deployer and runtime need, and no more, under one configuration. Pure.

The publisher puts releases in S3. The deployer takes them into service, back, and proves what serves. `slipway deploy`
does both, so who runs it needs both; `rollback`, `status`, `verify`, `invoke` and `logs` need the deployer's alone. The
pruner is for `prune` and `mlflow deployments delete`. The runtime is what a deployed release runs as.
"""

from __future__ import annotations

from ..config import Settings
from ..errors import ConfigurationInvalid
from ..names import DEPLOYMENTS
from . import keys
from .account import Account, Names
from .statements import Condition, Policy, Statement

ROLES = ("publisher", "deployer", "pruner", "runtime")
TARGETS = ("lambda", "sagemaker")
# What a release's bytes lie under; journals lie elsewhere, so that a publisher cannot say what serves.
RELEASES = ("releases/*", "layers/*")
# Where batches are read and answered with these policies; other places are to be added to the runtime's by hand.
BATCHES = "batch/"
SHADOWS = "shadow/"  # where SageMaker captures what is compared
LOOK_AT_SCALING = Statement(
    "LookAtScaling", ("application-autoscaling:DescribeScalableTargets",), ("*",))  # knows no resource


def policy(role: str, target: str, settings: Settings, account: Account) -> Policy:
    """What does this role need to do its part for this target?

    Args:
        role: one of ROLES.
        target: one of TARGETS.
        settings: prefix, bucket, key and execution role.
        account: whose.

    Raises:
        ConfigurationInvalid: there is no such role or target.
    """
    makers = {("publisher", "lambda"): publisher, ("publisher", "sagemaker"): publisher,
              ("deployer", "lambda"): lambda_deployer, ("deployer", "sagemaker"): sagemaker_deployer,
              ("pruner", "lambda"): lambda_pruner, ("pruner", "sagemaker"): sagemaker_pruner,
              ("runtime", "lambda"): lambda_runtime, ("runtime", "sagemaker"): sagemaker_runtime}
    if (role, target) not in makers:
        raise ConfigurationInvalid(f"no role {role!r} for {target!r}; roles: {', '.join(ROLES)}; "
                                   f"targets: {', '.join(TARGETS)}")
    return Policy(makers[role, target](Names(settings, account)))


def publisher(names: Names) -> tuple[Statement, ...]:
    """Put releases, and look whether they are there."""
    return (
        # Without ListBucket S3 answers 403 instead of 404 for a key that is free.
        Statement("SeeWhatIsThere", ("s3:ListBucket", "s3:ListBucketMultipartUploads"), names.s3()),
        Statement("PutReleases", ("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload",
                                  "s3:ListMultipartUploadParts"), names.s3(*RELEASES)),
        keys.by_s3(names, "EncryptReleases", "kms:GenerateDataKey", "kms:Decrypt"),
    )


def _journal(names: Names) -> tuple[Statement, ...]:
    return (
        Statement("SeeWhatIsThere", ("s3:ListBucket",), names.s3()),
        Statement("KeepTheJournal", ("s3:GetObject", "s3:PutObject"), names.s3(f"{DEPLOYMENTS}*")),
        keys.by_s3(names, "EncryptTheJournal", "kms:GenerateDataKey", "kms:Decrypt"),
    )


def _read_releases(names: Names) -> Statement:
    return Statement("ReadReleases", ("s3:GetObject",), names.s3(*RELEASES))


def lambda_deployer(names: Names) -> tuple[Statement, ...]:
    """Take a release into service on Lambda and back, ask it, prove it, read its log."""
    functions, layers = names.regional("lambda", "function:"), names.regional("lambda", "layer:")
    return (
        *_journal(names),
        *keys.looked_at(names),
        _read_releases(names),
        Statement("ShipFunctions", (
            "lambda:CreateFunction", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration",
            "lambda:PublishVersion", "lambda:CreateAlias", "lambda:UpdateAlias"), functions),
        Statement("LookAtFunctions", (
            "lambda:GetFunction", "lambda:GetFunctionConfiguration", "lambda:GetAlias",
            "lambda:ListVersionsByFunction", "lambda:GetFunctionConcurrency",
            "lambda:ListProvisionedConcurrencyConfigs", "lambda:GetFunctionUrlConfig", "lambda:GetPolicy"), functions),
        Statement("TakeAwayByHand", (  # what slipway.yaml does not say, and somebody set
            "lambda:DeleteFunctionConcurrency", "lambda:DeleteProvisionedConcurrencyConfig",
            "lambda:DeleteFunctionUrlConfig", "lambda:RemovePermission"), functions),
        *_around(names, functions),
        Statement("AskFunctions", ("lambda:InvokeFunction",), functions),
        Statement("PublishLayers", ("lambda:PublishLayerVersion",), layers),
        Statement("UseLayers", ("lambda:GetLayerVersion",), tuple(f"{arn}:*" for arn in layers)),
        Statement("FindLayers", ("lambda:ListLayerVersions",), ("*",)),  # knows no resource
        _pass(names, names.settings.lambda_.role, "lambda.amazonaws.com"),
        Statement("LookAtTheRole", ("iam:GetRole",), (names.role(names.settings.lambda_.role),)),
        Statement("WatchCanaries", ("cloudwatch:GetMetricStatistics",), ("*",)),  # knows no resource
        _read_logs(names, "/aws/lambda/"),
    )


def _around(names: Names, functions: tuple[str, ...]) -> tuple[Statement, ...]:
    """What is set around versions, where it is configured."""
    chosen, found = names.settings.lambda_, []
    if chosen.reserved is not None:
        found.append(Statement("Reserve", ("lambda:PutFunctionConcurrency",), functions))
        found.append(Statement("SeeWhatIsLeft", ("lambda:GetAccountSettings",), ("*",)))  # knows no resource
    if chosen.alarms:
        found.append(Statement("LookAtAlarms", ("cloudwatch:DescribeAlarms",), ("*",)))
    if chosen.provisioned:
        found.append(Statement("HaveReady", (
            "lambda:PutProvisionedConcurrencyConfig", "lambda:GetProvisionedConcurrencyConfig"), functions))
    if chosen.url == "iam":
        found.append(Statement("OpenTheUrl", (
            "lambda:CreateFunctionUrlConfig", "lambda:UpdateFunctionUrlConfig"), functions))
    if chosen.url_callers:
        found.append(Statement("LetCallersIn", ("lambda:AddPermission",), functions))
    if chosen.log_retention is not None:
        groups = names.regional("logs", "log-group:/aws/lambda/")
        found += [Statement("FindTheLog", ("logs:DescribeLogGroups",),
                            (names.account.arn("logs", "log-group:*"),)),
                  Statement("KeepTheLog", ("logs:CreateLogGroup", "logs:PutRetentionPolicy"), groups)]
    if chosen.vpc:  # Lambda looks with the caller's eyes
        found.append(Statement("LookAtTheNetwork", (
            "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups", "ec2:DescribeVpcs"), ("*",)))
    return tuple(found)


def sagemaker_deployer(names: Names) -> tuple[Statement, ...]:
    """Take a release into service on SageMaker and back, ask it, let it answer batches, prove it, read its log."""
    configs, endpoints = names.regional("sagemaker", "endpoint-config/"), names.regional("sagemaker", "endpoint/")
    models = names.regional("sagemaker", "model/")
    return (
        *_journal(names),
        *keys.looked_at(names),
        _read_releases(names),
        Statement("ShipModels", ("sagemaker:CreateModel", "sagemaker:DescribeModel"), models),
        Statement("ShipConfigs", ("sagemaker:CreateEndpointConfig", "sagemaker:DescribeEndpointConfig"), configs),
        # SageMaker asks for both resources of these two.
        Statement("ShipEndpoints", ("sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"), (*endpoints, *configs)),
        Statement("AskEndpoints", ("sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint"), endpoints),
        Statement("MendEndpoints", ("sagemaker:UpdateEndpointWeightsAndCapacities", "sagemaker:DeleteEndpoint"),
                  endpoints),  # deleted only when it never served rightly
        # The role that a batch runs as is the model's, so none is passed.
        Statement("RunBatches", ("sagemaker:CreateTransformJob", "sagemaker:DescribeTransformJob",
                                 "sagemaker:StopTransformJob"), names.regional("sagemaker", "transform-job/")),
        Statement("LookAtAlarms", ("cloudwatch:DescribeAlarms",), ("*",)),  # composite ones are shown to nobody else
        LOOK_AT_SCALING,
        *_scaling(names),
        *keys.volumes(names),
        *_asking_later(names),
        *_watching(names),
        _pass(names, names.settings.sagemaker.role, "sagemaker.amazonaws.com"),
        Statement("LookAtTheRole", ("iam:GetRole",), (names.role(names.settings.sagemaker.role),)),
        _read_logs(names, "/aws/sagemaker/Endpoints/"),
    )


def _given_up(names: Names) -> tuple[Statement, ...]:
    """Uploads that were cut off and nobody goes on with."""
    return (Statement("FindCutOffUploads", ("s3:ListBucketMultipartUploads",), names.s3()),
            Statement("AbortCutOffUploads", ("s3:AbortMultipartUpload",), names.s3(*RELEASES)))


def lambda_pruner(names: Names) -> tuple[Statement, ...]:
    """Remove what no kept release needs, or take a model out of service."""
    functions, layers = names.regional("lambda", "function:"), names.regional("lambda", "layer:")
    return (
        *_journal(names),
        Statement("RemoveReleases", ("s3:DeleteObject",), names.s3(*RELEASES)),
        *_given_up(names),
        Statement("LookAtFunctions", ("lambda:ListVersionsByFunction", "lambda:ListAliases",
                                      "lambda:ListProvisionedConcurrencyConfigs", "lambda:GetFunctionUrlConfig"),
                  functions),
        Statement("LookAround", ("lambda:ListFunctions", "lambda:ListLayerVersions"), ("*",)),  # know no resource
        Statement("RemoveVersions", ("lambda:DeleteFunction", "lambda:DeleteAlias", "lambda:DeleteFunctionUrlConfig",
                                     "lambda:DeleteProvisionedConcurrencyConfig"), functions),
        Statement("RemoveLayers", ("lambda:DeleteLayerVersion",), tuple(f"{arn}:*" for arn in layers)),
    )


def sagemaker_pruner(names: Names) -> tuple[Statement, ...]:
    """Remove what no kept release needs, or take a model out of service."""
    models, configs = names.regional("sagemaker", "model/"), names.regional("sagemaker", "endpoint-config/")
    return (
        *_journal(names),
        Statement("RemoveReleases", ("s3:DeleteObject",), names.s3(*RELEASES, f"{SHADOWS}*")),
        *_given_up(names),
        Statement("RemoveModels", ("sagemaker:DeleteModel",), models),
        Statement("RemoveConfigs", ("sagemaker:DescribeEndpointConfig", "sagemaker:DeleteEndpointConfig"), configs),
        Statement("FindByName", ("sagemaker:ListEndpointConfigs", "sagemaker:ListModels"), ("*",)),  # know no resource
        Statement("RemoveEndpoints", ("sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"),
                  names.regional("sagemaker", "endpoint/")),
        LOOK_AT_SCALING,
        *_unscaling(names),
    )


def lambda_runtime(names: Names) -> tuple[Statement, ...]:
    """Write the log; a function reads nothing, its release is in its code. And what its configuration needs."""
    chosen, found = names.settings.lambda_, list(_logging(names, "/aws/lambda/"))
    if chosen.vpc:  # know no resource before they are made
        found.append(Statement("HaveANetwork", (
            "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface",
            "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses", "ec2:DescribeSubnets"), ("*",)))
    if chosen.tracing:
        found.append(Statement("Trace", ("xray:PutTraceSegments", "xray:PutTelemetryRecords"), ("*",)))
    if chosen.dead_letter:
        send = "sqs:SendMessage" if ":sqs:" in chosen.dead_letter else "sns:Publish"
        found.append(Statement("SendWhatFailed", (send,), (chosen.dead_letter,)))
    return tuple(found)


def sagemaker_runtime(names: Names) -> tuple[Statement, ...]:
    """Fetch the model and, from ECR, the image; write the log and the metrics."""
    pull = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability")
    batches = names.account.arn("logs", "log-group:/aws/sagemaker/TransformJobs")
    own_images = names.account.arn("ecr", f"repository/{names.settings.prefix}*")
    return (
        *_logging(names, "/aws/sagemaker/Endpoints/"),
        Statement("MakeTheLogOfBatches", ("logs:CreateLogGroup",), (batches,)),
        Statement("WriteTheLogOfBatches", ("logs:CreateLogStream", "logs:PutLogEvents"),
                  (f"{batches}:log-stream:{names.settings.prefix}-*",)),
        Statement("ReadBatches", ("s3:GetObject",), names.s3(f"{BATCHES}*")),
        Statement("AnswerBatches", ("s3:PutObject",), names.s3(f"{BATCHES}*")),
        keys.by_s3(names, "EncryptAnswers", "kms:GenerateDataKey"),
        Statement("SeeTheModel", ("s3:ListBucket",), names.s3()),
        Statement("FetchTheModel", ("s3:GetObject",), names.s3("releases/*")),
        keys.by_s3(names, "DecryptTheModel", "kms:Decrypt"),
        *keys.kept(names),
        *_capturing(names),
        *_answering_later(names),
        *_tried(names),
        Statement("SignInToEcr", ("ecr:GetAuthorizationToken",), ("*",)),  # knows no resource
        Statement("PullTheImage", pull, (own_images,)),
        Statement("Measure", ("cloudwatch:PutMetricData",), ("*",),
                  (Condition("StringLike", "cloudwatch:namespace", ("/aws/sagemaker/*", "AWS/SageMaker")),)),
    )


def _scaling(names: Names) -> tuple[Statement, ...]:
    """Where endpoints scale: the targets have ids that AWS makes up, and their alarms are made in the caller's name."""
    if names.settings.sagemaker.autoscaling is None:
        return ()
    targets = (names.account.arn("application-autoscaling", "scalable-target/*"),)
    role = names.account.arn("iam", "role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*",
                             regional=False)
    return (
        Statement("ScaleEndpoints", (
            "application-autoscaling:RegisterScalableTarget", "application-autoscaling:PutScalingPolicy"), targets),
        Statement("KeepScalingAlarms", ("cloudwatch:PutMetricAlarm",), _scaling_alarms(names)),
        *_unscaling(names),
        Statement("LetAwsScale", ("iam:CreateServiceLinkedRole",), (role,)),
    )


def _unscaling(names: Names) -> tuple[Statement, ...]:
    """Where endpoints scale, and shall no more; AWS deletes the alarms of a target in the caller's name."""
    if names.settings.sagemaker.autoscaling is None:
        return ()
    return (
        Statement("LookAtPolicies", ("application-autoscaling:DescribeScalingPolicies",), ("*",)),  # knows no resource
        Statement("ScaleNoMore", ("application-autoscaling:DeregisterScalableTarget",),
                  (names.account.arn("application-autoscaling", "scalable-target/*"),)),
        Statement("RemoveScalingAlarms", ("cloudwatch:DeleteAlarms",), _scaling_alarms(names)),
    )


def _scaling_alarms(names: Names) -> tuple[str, ...]:
    """Those that AWS makes, and where an endpoint may have no instance the one of ours that wakes it."""
    return (names.account.arn("cloudwatch", "alarm:TargetTracking-endpoint/*"),
            names.account.arn("cloudwatch", f"alarm:{names.settings.prefix}-*-wake"))


def _asking_later(names: Names) -> tuple[Statement, ...]:
    """At asynchronous endpoints requests are put in S3, and answers are fetched from there."""
    later = names.settings.sagemaker.asynchronous
    if later is None:
        return ()
    return (Statement("AskLater", ("sagemaker:InvokeEndpointAsync",), names.regional("sagemaker", "endpoint/")),
            Statement("PutRequestsAndReadAnswers", ("s3:PutObject", "s3:GetObject"), names.s3(f"{later.to}/*")))


def _watching(names: Names) -> tuple[Statement, ...]:
    """Where new releases are tried as shadows: what they answered is read, and what was made for it is removed."""
    shadow = names.settings.sagemaker.shadow
    if shadow is None:
        return ()
    asked = ("cloudwatch:GetMetricStatistics", *(("cloudwatch:GetMetricData",) if shadow.slow_ms else ()))
    return (Statement("WatchShadows", asked, ("*",)),  # neither knows a resource
            Statement("ReadWhatShadowsAnswered", ("s3:GetObject",), names.s3(f"{SHADOWS}*")),
            Statement("EndTrials", ("sagemaker:DeleteEndpointConfig",),
                      names.regional("sagemaker", "endpoint-config/")))


def _tried(names: Names) -> tuple[Statement, ...]:
    if names.settings.sagemaker.shadow is None:
        return ()
    return (Statement("KeepWhatShadowsAnswered", ("s3:PutObject",), names.s3(f"{SHADOWS}*")),)


def _answering_later(names: Names) -> tuple[Statement, ...]:
    later = names.settings.sagemaker.asynchronous
    if later is None:
        return ()
    topics = tuple(dict.fromkeys(topic for topic in (later.success_topic, later.error_topic) if topic))
    told = (Statement("TellOfAnswers", ("sns:Publish",), topics),) if topics else ()
    return (Statement("AnswerLater", ("s3:GetObject", "s3:PutObject"), names.s3(f"{later.to}/*")), *told)


def _capturing(names: Names) -> tuple[Statement, ...]:
    capture = names.settings.sagemaker.capture
    if capture is None:
        return ()
    there = f"arn:{names.account.partition}:s3:::{capture.to[5:].rstrip('/')}/*" if capture.to else None
    return (Statement("KeepRequests", ("s3:PutObject",), (there,) if there else names.s3("capture/*")),
            keys.by_s3(names, "EncryptRequests", "kms:GenerateDataKey"))


def _logging(names: Names, groups: str) -> tuple[Statement, ...]:
    group = names.regional("logs", f"log-group:{groups}")
    return (
        Statement("MakeTheLog", ("logs:CreateLogGroup",), group),
        Statement("WriteTheLog", ("logs:CreateLogStream", "logs:PutLogEvents"), tuple(f"{arn}:*" for arn in group)),
    )


def _read_logs(names: Names, groups: str) -> Statement:
    return Statement("ReadLogs", ("logs:FilterLogEvents",), names.regional("logs", f"log-group:{groups}"))


def _pass(names: Names, role: str, service: str) -> Statement:
    return Statement("PassTheRuntimeRole", ("iam:PassRole",), (names.role(role),),
                     (Condition("StringEquals", "iam:PassedToService", (service,)),))

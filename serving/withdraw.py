"""Take a model out of service: nobody reaches it anymore, and the next deploy brings it back."""

from __future__ import annotations

from .aws import Aws
from .config import Settings
from .targets import open_target
from .targets.lambda_ import names as on_lambda
from .targets.sagemaker.execution import take_out


def withdraw(model: str, target: str, aws: Aws, settings: Settings) -> None:
    """Take it out. What was shipped stays, for the way back; one that is not in service is no fault.

    Raises:
        Refused: somebody is deploying it.
        AwsFailed: AWS refused.
    """
    place = open_target(target, aws, settings)
    place.logbook(model).read_free()
    if target == "lambda":
        function = on_lambda.function_name(settings, model)
        for version in aws.surroundings.provisioned(function):
            aws.surroundings.unprovision(function, version)
        if aws.surroundings.url(function, on_lambda.ALIAS):
            aws.surroundings.close_url(function, on_lambda.ALIAS)
        aws.functions.delete_alias(function, on_lambda.ALIAS)
        return
    take_out(aws, place.place(model))

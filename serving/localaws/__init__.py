"""A local AWS: S3, Lambda, SageMaker and what they need, on one port of this machine, with no account and no Docker.

with running() as environment:      # in a test or a program
    boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"], ...)

$ eval "$(slipway local)"           # in a shell
$ slipway local -- make demo        # for one command
"""

from serving.localaws.errors import LocalAwsError
from serving.localaws.running import running

__all__ = ["LocalAwsError", "running"]

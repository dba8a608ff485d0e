"""Which limits does SageMaker's hosting enforce?

Read 2026-11 from https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html; sizes and enums that botocore's service model
states are taken from there and not repeated.
"""

from __future__ import annotations

from typing import Final

INVOCATION_SECONDS: Final = 60.0
STARTUP_SECONDS: Final = 240.0  # a container has so long to pass /ping, unless the variant says otherwise
SERVERLESS_BYTES: Final = 4 * 1024 * 1024
CANARY_PERCENT: Final = 50  # of the new fleet's capacity, at most
LINEAR_PERCENT: Final = (10, 50)
ASYNC_SECONDS: Final = 900.0
TRANSFORM_PAYLOAD_MIB: Final = 6

"""Which limits does Lambda enforce?

Read 2026-11 from https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
"""

from __future__ import annotations

from typing import Final

UNZIPPED_BYTES: Final = 262_144_000  # function code and all its layers together
DIRECT_ZIP_BYTES: Final = 52_428_800  # a zip in the request itself; more goes through S3
REQUEST_BYTES: Final = 70_167_211  # the whole request, base64 included (from Lambda's own refusal)
SYNCHRONOUS_BYTES: Final = 6_291_456  # a synchronous request's payload
ASYNCHRONOUS_BYTES: Final = 1_048_576  # an asynchronous request's payload (raised from 256 KB in 2025-10)
ANSWER_BYTES: Final = 6_291_556  # an answer's payload
ENVIRONMENT_BYTES: Final = 4_096  # all environment variables together
LAYERS: Final = 5
INIT_SECONDS: Final = 10.0
LOG_TAIL_BYTES: Final = 4_096
ACCOUNT_CONCURRENCY: Final = 1_000
UNRESERVED_CONCURRENCY: Final = 100  # what must be left to functions without a reservation
MOST_SECONDS: Final = 900
MOST_MEMORY: Final = 10_240  # MB
MOST_STORAGE: Final = 10_240  # MB of /tmp

# Set by Lambda itself, so a function's configuration may not (docs, "Defined runtime environment variables").
RESERVED_VARIABLES: Final = frozenset(
    {
        "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
    }
)  # fmt: skip

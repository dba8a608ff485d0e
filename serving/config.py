"""What may be configured about serving: flags over environment over slipway.yaml over these defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ConfigurationInvalid

Runtime = Literal["python3.11", "python3.12", "python3.13"]
Architecture = Literal["x86_64", "arm64"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LambdaSettings(_Section):
    """How is a model run on Lambda?

    Attributes:
        runtime: None takes python3.12 when the endpoint offers it; onnxruntime needs glibc 2.28, which
            python3.11's Amazon Linux 2 does not have.
        memory: MB, 128 to 10,240 (AWS Lambda quotas, read 2026-11); CPU is given in proportion.
        timeout: seconds, 1 to 900 (the same page).
        role: ARN or name of the execution role.
    """

    runtime: Runtime | None = None
    architecture: Architecture = "x86_64"
    memory: int = Field(1024, ge=128, le=10240)
    timeout: int = Field(30, ge=1, le=900)
    role: str = "slipway-exec-lambda"


class Settings(_Section):
    """What is configured?

    Attributes:
        prefix: the start of every name made on AWS, so that one policy can cover them.
        bucket: where releases lie; None means ``PREFIX-ACCOUNT-REGION``.
    """

    prefix: str = Field("slipway", pattern=r"^[a-z][a-z0-9-]{0,19}$")
    bucket: str | None = None
    lambda_: LambdaSettings = Field(default=LambdaSettings(), alias="lambda")


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Which settings are in force?

    Args:
        path: a slipway.yaml; None means ``SLIPWAY_CONFIG``, else ./slipway.yaml, else the defaults.
        environ: the environment.

    Raises:
        ConfigurationInvalid: the file is missing or says something that is not understood.
    """
    named = path or (Path(environ["SLIPWAY_CONFIG"]) if "SLIPWAY_CONFIG" in environ else None)
    source = named or Path("slipway.yaml")
    if not source.is_file():
        if named:
            raise ConfigurationInvalid(f"{source}: no such file")
        return Settings()
    return parse(source.read_text(encoding="utf-8"), name=str(source))


def parse(text: str, *, name: str) -> Settings:
    """Which settings does this YAML hold?

    Raises:
        ConfigurationInvalid: the first fault, with the nearest right key where one is unknown.
    """
    import yaml

    try:
        raw: Any = yaml.safe_load(text) or {}
        return Settings.model_validate(raw)
    except yaml.YAMLError as error:
        raise ConfigurationInvalid(f"{name}: not YAML: {error}") from None
    except ValidationError as error:
        raise ConfigurationInvalid(f"{name}: {_first_fault(error)}") from None


def _first_fault(error: ValidationError) -> str:
    from difflib import get_close_matches

    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] != "extra_forbidden":
        return f"{where}: {fault['msg']}; found {fault['input']!r}"
    known = LambdaSettings.model_fields if fault["loc"][0] == "lambda" else {"prefix": 0, "bucket": 0, "lambda": 0}
    near = get_close_matches(str(fault["loc"][-1]), list(known), n=1, cutoff=0)
    return f"unknown key {where}; the nearest is {near[0]}"

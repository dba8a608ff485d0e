"""One model all the way: ana trains it, CI checks it, bo approves it, Lambda serves it."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from serving.localaws import running
from slipway import quiet_tensorflow

from .record import Stage, StepFailed
from .services import QUIET, end_as_by_ctrl_c, mlflow_server, server_command

HOME = Path(".slipway/demo").resolve()
REPORT = Path(".slipway/demo.json")
AUTHOR, CI, REVIEWER = "ana", "ci", "bo"
MODEL = "images"


def main() -> int:
    """Run the demo; 0 when every step did what it should."""
    if HOME.exists():
        print(f"replacing what an earlier demo left in {HOME}")
        shutil.rmtree(HOME)
    quiet_tensorflow()
    end_as_by_ctrl_c()
    stage = Stage({**QUIET, "PYTHONUNBUFFERED": "1", "GIT_PYTHON_REFRESH": "quiet"})
    try:
        with ExitStack() as services:
            _start(stage, services)
            _govern(stage)
            _serve(stage)
    except (StepFailed, RuntimeError) as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; what it had started has ended.", file=sys.stderr)
        return 130
    stage.record.write(REPORT)
    stage.table()
    _farewell()
    return 0


def _start(stage: Stage, services: ExitStack) -> None:
    with stage.step("start an MLflow server with the enforcing registry, and a local AWS", "everybody") as ended:
        aws = services.enter_context(running("--state", str(HOME / "aws")))
        address = services.enter_context(mlflow_server(HOME))
        stage.environment |= {**aws, "MLFLOW_TRACKING_URI": address}
        os.environ.update({**aws, **QUIET, "MLFLOW_TRACKING_URI": address, "SLIPWAY_USER": REVIEWER})
        ended(f"MLflow on {address}, AWS on {aws['AWS_ENDPOINT_URL']}")


def _govern(stage: Stage) -> None:
    version = f"{MODEL}/1"
    with stage.step("train a CNN and register it", AUTHOR) as ended:
        stage.run(AUTHOR, "mlflow", "run", ".", "--env-manager", "local", "-P", f"task={MODEL}")
        ended(f"{version} registered as a candidate")
    with stage.step("try to put it into Production at once", AUTHOR) as ended:
        ended("refused: " + stage.refused(AUTHOR, "slipway", "promote", version, "--to", "Production"))
    with stage.step("run the gates", CI) as ended:
        stage.run(CI, "slipway", "check", version)
        ended("every gate passed; evidence recorded for exactly these bytes")
    with stage.step("promote to Staging", CI) as ended:
        ended(stage.run(CI, "slipway", "promote", version, "--to", "Staging"))
    with stage.step("try Production without an approval", CI) as ended:
        ended("refused: " + stage.refused(CI, "slipway", "promote", version, "--to", "Production"))
    with stage.step("approve the bytes that were checked", REVIEWER) as ended:
        ended(stage.run(REVIEWER, "slipway", "approve", version, "--comment", "recall is good on every digit"))
    with stage.step("promote to Production", CI) as ended:
        ended(stage.run(CI, "slipway", "promote", version, "--to", "Production"))


def _serve(stage: Stage) -> None:
    with stage.step("deploy to Lambda", CI) as ended:
        stage.run(CI, "slipway", "deploy", MODEL, "--target", "lambda")
        ended("in service behind the alias `production`")
    with stage.step("ask Lambda for every held-out image, and Keras for the same", REVIEWER) as ended:
        print("   one request an image, through boto3")
        ended(_compare(stage))
    with stage.step("deploy again", CI) as ended:
        stage.run(CI, "slipway", "deploy", MODEL, "--target", "lambda")
        ended("nothing to do")
    with stage.step("read the history", REVIEWER) as ended:
        stage.run(REVIEWER, "slipway", "history", MODEL)
        ended("who did what, and when")


def _compare(stage: Stage) -> str:
    from .comparison import compare

    found = compare(MODEL)
    stage.record.answers_compared, stage.record.answers_equal = found.compared, found.equal
    stage.record.max_abs_diff = found.max_abs_diff
    if found.equal != found.compared:
        raise StepFailed(f"{found.compared - found.equal} of {found.compared} answers differ from Keras's")
    return (f"{found.equal} of {found.compared} answers equal Keras's, largest difference {found.max_abs_diff:.1e}, "
            f"accuracy {found.accuracy:.3f}; all given by {found.served_by}")


def _farewell() -> None:
    command = server_command(HOME.relative_to(Path.cwd()), 5000)
    print(f"\nWritten to {REPORT}. To look at what was made in MLflow's registry UI: `make ui`, which runs\n\n"
          f"  .venv/bin/{' '.join(command)}\n\non a free port and says where; the model is at /#/models/{MODEL}.")


if __name__ == "__main__":
    sys.exit(main())

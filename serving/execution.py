"""A plan, run: its steps in their order, what was begun and how it ended noted in the journal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from .aws import Aws
from .errors import AwsConflict, Refused
from .journal import Kind
from .logbook import note
from .plan import Begin, Done, Plan, Step, Upload
from .traffic import Judged

Report = Callable[[Step, float], None]


class Hands(Protocol):
    """What does the steps that only one target knows.

    Attributes:
        published: the target's own name of what is being deployed (a Lambda version, say), empty while unknown.
    """

    published: str

    @property
    def judged(self) -> tuple[Judged, ...]:
        """What did a canary's tests, or the alarms, see of it? Empty while nothing was judged."""

    def do(self, step: Step) -> None:
        """Do one step.

        Raises:
            Refused: what was deployed does not do what it should; what served before serves again.
            AwsConflict: somebody else changed what this plan was made for.
            AwsFailed: AWS refused; running the same deploy again goes on from there.
        """


def execute(plan: Plan, aws: Aws, hands: Hands, report: Report) -> str:
    """Run the steps in their order; give what is in service now by the target's own name, empty when there were none.

    Args:
        plan: what to do.
        aws: where the journal and the release lie.
        hands: of the target that the plan is for.
        report: told each step that was done, with its seconds.

    Raises:
        As `Hands.do` does; what was refused is noted in the journal first.
    """
    begun: Begin | None = None
    for step in plan.steps:
        started = time.monotonic()
        try:
            match step:
                case Begin():
                    note(aws, step, Kind.BEGAN, published=step.published)
                    begun, hands.published = step, step.published
                case Upload():
                    _upload(aws, step)
                case Done():
                    note(aws, step.begin, Kind.DONE, published=hands.published)
                case _:
                    hands.do(step)
        except Refused as error:
            if begun:
                note(aws, begun, Kind.FAILED, published=hands.published, reason=str(error))
            raise
        report(step, time.monotonic() - started)
    return hands.published


def is_stored(aws: Aws, upload: Upload) -> bool:
    """Does S3 hold these very bytes under this key?

    Raises:
        Refused: it holds others.
    """
    found = aws.storage.object(upload.bucket, upload.key)
    if found is None:
        return False
    if not found.is_file(upload.path, upload.sha256):
        raise Refused(f"s3://{upload.bucket}/{upload.key} holds other bytes than this release "
                      f"(SHA-256 {found.sha256[:12] or 'not recorded'}, wanted {upload.sha256[:12]}). "
                      "Keys are create-only: somebody wrote there. Next: look who, and remove it")
    return True


def _upload(aws: Aws, step: Upload) -> None:
    try:
        aws.storage.create_object(step.bucket, step.key, step.path, step.sha256)
    except AwsConflict:
        if not is_stored(aws, step):  # somebody else put the very same bytes there: as good
            raise

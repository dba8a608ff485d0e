"""A plan, run: its steps in their order, what was begun and how it ended noted in the journal."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from .aws import Aws
from .aws.multipart import Sent
from .errors import AwsConflict, Refused, ServingError, Stopped
from .hold import Hold
from .journal import Kind
from .plan import Begin, Done, Plan, Step, Upload
from .traffic import Judged

Report = Callable[[Step, float], None]
Sending = Callable[[Upload], AbstractContextManager[Sent]]


def unseen(upload: Upload) -> AbstractContextManager[Sent]:
    """Nobody looks at how this upload gets on."""
    return nullcontext(lambda count: None)


class Hands(Protocol):
    """What does the steps that only one target knows.

    Attributes:
        published: the target's own name of what is being deployed (a Lambda version, say), empty while unknown.
        renew: to be called every few minutes while anything is waited for; `execute` sets it.
    """

    published: str
    renew: Callable[[], None]

    @property
    def judged(self) -> tuple[Judged, ...]:
        """What did a canary's tests, or the alarms, see of it? Empty while nothing was judged."""

    def do(self, step: Step) -> None:
        """Do one step.

        Raises:
            Refused: what was deployed does not do what it should; what served before serves again.
            AwsConflict: somebody else changed what this plan was made for.
            TakenOver: somebody else goes on with this deployment.
            AwsFailed: AWS refused; running the same deploy again goes on from there.
        """

    def stopped(self, step: Step) -> str:
        """Undo of a step that was cut off what nobody would watch now, and say what serves, read back.

        Raises:
            AwsFailed: AWS refused.
        """


def execute(
    plan: Plan, aws: Aws, hands: Hands, report: Report, sending: Sending = unseen,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> str:
    """Run the steps in their order; give what is in service now by the target's own name, empty when there were none.

    Args:
        plan: what to do.
        aws: where the journal and the release lie.
        hands: of the target that the plan is for.
        report: told each step that was done, with its seconds.
        sending: entered for each upload; what it gives is told how many bytes have arrived, as they do.
        now: the clock of the journal.

    Raises:
        Stopped: Ctrl-C; the journal says so, and the next run goes on from there.
        As `Hands.do` does; what was refused is noted in the journal first.
    """
    run = _Run(aws, hands, sending, now)
    for number, step in enumerate(plan.steps):
        started = time.monotonic()
        try:
            run.do(step)
        except Refused as error:
            run.end(Kind.FAILED, str(error))
            raise
        except KeyboardInterrupt:
            raise Stopped(run.stop(step, number, plan)) from None
        report(step, time.monotonic() - started)
    return hands.published


@dataclass(slots=True)
class _Run:
    """A plan that is being run. ``hold`` is None until its beginning is noted."""

    aws: Aws
    hands: Hands
    sending: Sending
    now: Callable[[], datetime]
    hold: Hold | None = None

    def do(self, step: Step) -> None:
        """Do one step."""
        self.renew()
        match step:
            case Begin():
                hold = Hold(self.aws, step, self.now)
                hold.begin()
                self.hold, self.hands.published, self.hands.renew = hold, step.published, self.renew
            case Upload():
                self._upload(step)
            case Done():
                self.end(Kind.DONE)
            case _:
                self.hands.do(step)

    def _upload(self, step: Upload) -> None:
        with self.sending(step) as shown:
            def sent(count: int) -> None:
                self.renew()
                shown(count)

            try:
                self.aws.storage.create_object(step.bucket, step.key, step.path, step.sha256, sent=sent)
            except AwsConflict:
                if not is_stored(self.aws, step):  # somebody else put the very same bytes there: as good
                    raise

    def renew(self) -> None:
        """Say that this goes on, where it is time."""
        if self.hold:
            self.hold.renew(self.hands.published)

    def end(self, kind: Kind, reason: str = "") -> None:
        """Note how it ended; without a beginning there is nothing to end."""
        if self.hold:
            self.hold.end(kind, self.hands.published, reason)

    def stop(self, step: Step, number: int, plan: Plan) -> str:
        """Leave nothing that nobody watches, note that it was stopped, and say what was done."""
        said = [f"stopped at step {number + 1} of {len(plan.steps)} ({' '.join(str(step).split())})"]
        try:
            said.append(self.hands.stopped(step))
            self.end(Kind.STOPPED, said[0])
        except ServingError as error:
            said.append(f"more could not be seen to: {error}")
        undone = "nothing was changed" if number == 0 else f"{number} step{'s were' if number > 1 else ' was'} done"
        return f"{said[0]}: {undone}; {'; '.join(said[1:])}. Next: run the same again, and it goes on from there"


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

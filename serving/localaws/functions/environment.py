"""One execution environment: a process of the real ``awslambdaric`` with the function's own files and nothing else."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from serving.localaws.functions import platform_log
from serving.localaws.functions.limits import INIT_SECONDS
from serving.localaws.functions.revision import Revision
from serving.localaws.functions.runtime_api import Answer, Invocation, RuntimeApi
from serving.localaws.interpreters import Interpreter
from serving.localaws.premises import Premises
from serving.localaws.processes import memory_mib
from serving.localaws.sandbox import Folders, Layout

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one invocation. A log line is as CloudWatch would hold it."""

    body: bytes
    failed: bool
    log: tuple[str, ...]
    alive: bool
    duration_ms: float


class End(Enum):
    """Why did an environment end?"""

    TIMEOUT = "Sandbox.Timedout"
    EXIT = "Runtime.ExitError"
    MEMORY = "Runtime.OutOfMemory"


# How a request ended, in the words of Lambda's JSON log.
_STATUS: dict[End | None, str] = {End.TIMEOUT: "timeout", End.EXIT: "failure", End.MEMORY: "failure"}


class Environment:
    """A process that answers one event at a time for one revision of a function."""

    def __init__(self, revision: Revision, opt: Path | None, interpreter: Interpreter, premises: Premises) -> None:
        self.revision = revision
        self._opt = opt
        self._interpreter = interpreter
        self._premises = premises
        self._home = premises.state / "scratch" / uuid.uuid4().hex
        self.log_stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{revision.version}]{uuid.uuid4().hex}"
        self._init_ms: float | None = None
        self._used = False
        self._ending = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        self._ended = False
        self._api = RuntimeApi()
        interpreter, premises, settings = self._interpreter, self._premises, self.revision.settings
        argv = [str(interpreter.executable), "-S", "-m", "awslambdaric", str(settings["Handler"])]
        folders = Folders(
            task=self.revision.package.folder,
            runtime=interpreter.runtime_folder(premises.state / "runtimes"),
            opt=self._opt,
            home=self._home,
            needed=interpreter.folders,
        )
        scratch = int((settings.get("EphemeralStorage") or {}).get("Size", 512))
        layout = premises.sandbox.function(argv, folders, scratch_mib=scratch)
        self._process = premises.nursery.spawn(layout.argv, env=self._variables(layout), cwd=layout.cwd)
        self._log = _Log(self._process)
        threading.Thread(target=self._watch, args=(self._process, self._api), daemon=True).start()

    @staticmethod
    def _watch(process: subprocess.Popen[bytes], api: RuntimeApi) -> None:
        process.wait()
        api.process_ended()

    def _variables(self, layout: Layout) -> dict[str, str]:
        revision, region = self.revision, self.revision.arn.split(":")[3]
        own = {
            "_HANDLER": str(revision.settings["Handler"]),
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "LAMBDA_TASK_ROOT": str(layout.task),
            "LAMBDA_RUNTIME_DIR": str(layout.runtime),
            "AWS_LAMBDA_FUNCTION_NAME": revision.name,
            "AWS_LAMBDA_FUNCTION_VERSION": revision.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(revision.memory),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{revision.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
            "AWS_LAMBDA_LOG_FORMAT": revision.log_format,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{revision.runtime}",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "TZ": ":UTC",
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin" + (f":{layout.opt}/bin" if layout.opt else ""),
            "PYTHONPATH": os.pathsep.join(str(folder) for folder in self._python_path(layout)),
            "PYTHONDONTWRITEBYTECODE": "1",  # /var/task cannot be written on AWS either
            "HOME": str(layout.home),
            "TMPDIR": str(layout.home),
        }
        return {**own, **revision.variables, **self._premises.credentials}

    def _python_path(self, layout: Layout) -> list[Path]:
        """AWS's order: the function's own files, then the layers, then the runtime's."""
        folders, opt = [layout.task], layout.opt
        if opt is not None:
            folders += [opt / "python" / "lib" / self.revision.runtime / "site-packages", opt / "python"]
        return [*folders, layout.runtime]

    def initialise(self) -> None:
        """Wait until the function's module is imported, or has failed to be."""
        if self._init_ms is None:
            if not self._api.ready.wait(INIT_SECONDS):
                # As on AWS: an init that takes too long is run once more, now within the function's own timeout.
                self._log.note(f"INIT_REPORT Init Duration: {INIT_SECONDS * 1000:.2f} ms\tPhase: init\tStatus: timeout")
                self._restart()
                self._api.ready.wait(self.revision.timeout)
            self._init_ms = (time.monotonic() - self._started) * 1000

    def _restart(self) -> None:
        lines = self._log.take()
        self.kill()
        self._start()
        for line in lines:
            self._log.note(line)

    def invoke(self, payload: bytes, function_arn: str, client_context: str = "") -> Outcome:
        """Hand over an event and wait for what comes of it. Only one at a time."""
        self.initialise()
        request_id, first, self._used = str(uuid.uuid4()), not self._used, True
        version = f"{self.revision.runtime.replace('python', 'python:')}.local"
        written = platform_log.Format(self.revision.log_format)
        opening = written.init_start(version) if first else []
        opening += written.start(request_id, self.revision.version)
        start = time.monotonic()
        answer, end = self._exchange(request_id, payload, function_arn, client_context)
        elapsed = (time.monotonic() - start) * 1000
        closing = written.end(platform_log.Report(
            request_id, elapsed, self.revision.memory, memory_mib(self._process.pid, "VmHWM"),
            self._init_ms if first else None, _STATUS.get(end, "error" if answer and answer.failed else "success")))
        if end is not None:
            answer = Answer(self._epitaph(request_id, end), failed=True)
            if self._api.init_error is None:  # else awslambdaric has logged it
                closing.insert(0, json.loads(answer.body)["errorMessage"])
        assert answer is not None  # noqa: S101 - without an answer there is an end
        return Outcome(answer.body, answer.failed, (*opening, *self._log.take(), *closing), end is None, elapsed)

    def _exchange(self, request_id: str, payload: bytes, arn: str, context: str) -> tuple[Answer | None, End | None]:
        if not self._api.ready.is_set():
            return None, End.TIMEOUT
        if self._api.init_error is not None or not self.alive:
            return None, End.EXIT
        limit = time.monotonic() + self.revision.timeout
        self._api.send(Invocation(request_id, payload, arn, time.time() + self.revision.timeout, context))
        while True:
            try:
                answer = self._api.answer(_POLL_SECONDS)
            except TimeoutError:
                if memory_mib(self._process.pid) > self.revision.memory:
                    return None, End.MEMORY
                if time.monotonic() > limit:
                    return None, End.TIMEOUT
                continue
            return (answer, None) if answer is not None else (None, End.EXIT)

    def _epitaph(self, request_id: str, end: End) -> bytes:
        if end is End.EXIT and self._api.init_error is not None:
            return self._api.init_error
        if end is End.TIMEOUT:
            text = f"Task timed out after {self.revision.timeout:.2f} seconds"
        elif end is End.MEMORY:
            text = "Runtime exited with error: signal: killed"
        else:
            code = self._process.wait()
            text = f"Runtime exited with error: {f'signal: {-code}' if code < 0 else f'exit status {code}'}"
        kind = End.EXIT if end is End.MEMORY else end
        return json.dumps({"errorType": kind.value, "errorMessage": f"RequestId: {request_id} Error: {text}"}).encode()

    @property
    def alive(self) -> bool:
        """Can it take another event?"""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process and all it started; its scratch folder goes too."""
        with self._ending:
            ended, self._ended = self._ended, True
        if ended:
            return
        self._premises.nursery.kill(self._process)
        self._log.close()
        self._api.close()
        shutil.rmtree(self._home, ignore_errors=True)


class _Log:
    """What the process printed. A thread keeps the pipe from filling; `take` reads the rest itself.

    The function writes before it answers, so once the answer is here all its lines are in the pipe.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - the nursery was asked for a pipe
        self._pipe = process.stdout
        self._lock = threading.Lock()
        self._text = bytearray()
        self._open = True
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        while self._open:
            try:
                select.select([self._pipe], [], [], 1.0)
                with self._lock:
                    if not self._open or self._read() == b"":
                        return
            except (OSError, ValueError):
                return

    def _read(self) -> bytes | None:
        """Move what is waiting into the buffer: None when nothing is, empty at the end."""
        if not select.select([self._pipe], [], [], 0)[0]:
            return None
        data = os.read(self._pipe.fileno(), 65536)
        self._text += data
        return data

    def note(self, line: str) -> None:
        """Add a line of Lambda's own."""
        with self._lock:
            self._text += line.encode() + b"\n"

    def take(self) -> list[str]:
        """All lines since the last time."""
        with self._lock:
            while self._open and self._read():
                pass
            text, self._text = self._text.decode("utf-8", "replace"), bytearray()
        # awslambdaric writes a line break inside one record as a carriage return
        return [line.replace("\r", "\n") for line in text.split("\n") if line]

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            self._open = False
            self._pipe.close()

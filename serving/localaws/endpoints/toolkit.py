"""Plays AWS's prebuilt inference images: serves the handler functions of a model's ``code/inference.py`` over HTTP.

It stands alone: the local AWS runs this file as a script, with nothing of this project on the path. Written after the
handler contract of ``sagemaker-inference`` 1.10 (github.com/aws/sagemaker-inference-toolkit). The real images bring
their own libraries; here the interpreter's own play that part.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_JSON = "application/json"


class Handlers:
    """The four functions of ``inference.py``, with the toolkit's defaults for those that are missing."""

    def __init__(self, model_dir: Path) -> None:
        code = model_dir / "code"
        sys.path.insert(0, str(code))
        spec = importlib.util.spec_from_file_location("inference", code / "inference.py")
        if spec is None or spec.loader is None:
            raise FileNotFoundError(code / "inference.py")
        self._module = importlib.util.module_from_spec(spec)
        sys.modules["inference"] = self._module
        spec.loader.exec_module(self._module)
        self._model = self._function("model_fn", lambda folder: folder)(str(model_dir))

    def _function(self, name: str, default: Callable[..., Any]) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self._module, name, default)
        return found

    def answer(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Run one request through input_fn, predict_fn and output_fn, or through transform_fn where there is one."""
        text: str | bytes = body.decode() if content_type.startswith((_JSON, "text/")) else body
        whole = getattr(self._module, "transform_fn", None)
        if whole is not None:
            answered = whole(self._model, text, content_type, accept)
        else:
            data = self._function("input_fn", lambda given, kind: json.loads(given))(text, content_type)
            predicted = self._function("predict_fn", lambda given, model: model(given))(data, self._model)
            answered = self._function("output_fn", lambda given, kind: json.dumps(given))(predicted, accept)
        content, kind = answered if isinstance(answered, tuple) else (answered, accept)
        return content.encode() if isinstance(content, str) else bytes(content), str(kind)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    handlers: Handlers

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what the handlers print is what counts."""

    def do_GET(self) -> None:
        """Answer /ping."""
        self._send(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        """Answer /invocations."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content_type = self.headers.get("Content-Type", _JSON)
        accept = self.headers.get("Accept", _JSON)
        try:
            answer, kind = self.handlers.answer(body, content_type, _JSON if accept == "*/*" else accept)
        except Exception as error:  # noqa: BLE001 - whatever the model's code raises is its answer, as in the toolkit
            traceback.print_exc()
            self._send(getattr(error, "status_code", 500), str(error).encode(), "text/plain")
            return
        self._send(200, answer, kind)

    def _send(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(int(status))
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(model_dir: Path, port: int) -> None:
    """Load the model, then serve it: /ping answers only once the model is there."""
    _Handler.handlers = Handlers(model_dir)
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

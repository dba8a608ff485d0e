# mypy: disallow-untyped-calls=False
# MLflow's own functions carry no annotations.
"""The artefact stores of MLflow's server, which write nothing among the files of an approved version.

MLflow has many routes that write artefacts (PUT, multipart, `upload-artifact`, presigned URLs), each with its own way
to spell a path. All of them end in the same few methods of two kinds of store, with the path as it will be written: so
it is asked there, after whoever asks has logged in, and a route that comes with the next MLflow is asked too.
"""

from __future__ import annotations

import functools
import inspect
import posixpath
from collections.abc import Callable
from typing import Any

from anyio import to_thread
from mlflow.server import handlers

from registry.freeze import plain, stored_at, whole
from registry.whereabouts import served_from

Refuse = Callable[[str | None, str], None]
"""Raises when nothing may be written there: the path that the server serves it by, if any, and the whole address."""


def _in_folder(name: Any, artifact_path: Any = None) -> str:
    return posixpath.join(artifact_path or "", posixpath.basename(str(name)))


# Where a call of each method would write, as a path below the store's root.
_PLACES: dict[str, Callable[..., str]] = {
    "log_artifact": lambda local_file, artifact_path=None: _in_folder(local_file, artifact_path),
    "log_artifacts": lambda _local_dir, artifact_path=None: artifact_path or "",
    "log_artifact_from_stream": lambda _stream, name, artifact_path=None: _in_folder(name, artifact_path),
    "log_artifact_from_async_stream": lambda _chunks, name, artifact_path=None: _in_folder(name, artifact_path),
    "delete_artifacts": lambda artifact_path=None: artifact_path or "",
    "create_multipart_upload": lambda name, _parts=1, artifact_path=None: _in_folder(name, artifact_path),
    "complete_multipart_upload": lambda name, _id, _parts=None, artifact_path=None: _in_folder(name, artifact_path),
    "abort_multipart_upload": lambda name, _id, artifact_path=None: _in_folder(name, artifact_path),
    "create_presigned_upload_url": lambda artifact_path, expiration=None: artifact_path,
}


def guard(refuse: Refuse) -> None:
    """Put the question before every writing method of the artefact stores that the server's handlers use."""
    served, elsewhere = handlers._get_artifact_repo_mlflow_artifacts, handlers._get_artifact_repository_for_uri

    def of_server() -> Any:
        return _guarded(served(), served_from(), refuse)

    def of_address(artifact_uri: str) -> Any:
        return _guarded(elsewhere(artifact_uri), artifact_uri, refuse)

    # MLflow offers no door for these; every handler and its native upload route look them up by these names.
    handlers._get_artifact_repo_mlflow_artifacts = of_server
    handlers._get_artifact_repository_for_uri = of_address


def _guarded(repo: Any, root: str, refuse: Refuse) -> Any:
    if vars(repo).get("slipway_guarded"):  # MLflow keeps the server's own for as long as it runs
        return repo
    for name, place in _PLACES.items():
        method = getattr(repo, name, None)
        if method is not None:
            setattr(repo, name, _asking(method, place, functools.partial(_ask, root, refuse)))
    repo.slipway_guarded = True
    return repo


def _ask(root: str, refuse: Refuse, path: str) -> None:
    address = f"{root.rstrip('/')}/{plain(path)}".rstrip("/")
    refuse(stored_at(address, served_from()), whole(address))


def _asking(method: Any, place: Callable[..., str], ask: Callable[[str], None]) -> Any:
    """The same method, asked for first; a database is asked in a thread where the method itself does not wait."""
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            await to_thread.run_sync(ask, place(*args, **kwargs))
            return await method(*args, **kwargs)

        return awaited

    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        ask(place(*args, **kwargs))
        return method(*args, **kwargs)

    return called

"""What Lambda is given: one small zip per release, and one layer of dependencies that releases share."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .bundle import Bundle
from .errors import ServingError
from .runtime.manifest import sha256

RUNTIME = Path(__file__).parent / "runtime"
REQUIREMENTS = RUNTIME / "requirements.txt"
HANDLER = "serving.runtime.lambda_handler.handler"

# Amazon Linux 2023 has glibc 2.34 (AWS Lambda runtimes page, read 2026-11), so wheels up to manylinux_2_34 load;
# onnxruntime publishes 2_27/2_28.
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")

digest = sha256  # of a zip or a file of the bundle, as its manifest names it

# Raise when the rules below change what a layer holds: it is part of the layer's identity.
LAYER_RULES = 3
# Of onnxruntime's wheel, its C library and what its licence asks to travel along. The other half of the wheel is a
# second copy of the library, made for one Python version, which needs numpy.
KEPT = ("onnxruntime/capi/libonnxruntime.*", "onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt",
        "onnxruntime-*.dist-info/METADATA")
# multi-model-server (1.1.11), which AWS's prebuilt images run, otherwise searches every folder for a manifest.json in
# any case, takes the bundle's for one of its own and stops at it.
ARCHIVE_MANIFEST = """{
 "specificationVersion": "1.0", "implementationVersion": "1.0", "modelServerVersion": "1.0", "runtime": "python",
 "model": {"modelName": "model", "handler": "sagemaker_inference.default_handler_service"}
}
"""
# Of our own runtime, what only the container server imports.
SERVER_ONLY = ("server",)


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """Which dependencies, for which Python and which machine?

    Attributes:
        runtime: Lambda's name of the Python, such as ``python3.12``.
        architecture: ``x86_64`` or ``arm64``.
        identity: SHA-256 over everything that decides the layer's content, so that one that is already published
            is found without building it again.
    """

    runtime: str
    architecture: str
    identity: str

    @property
    def python(self) -> str:
        """Which Python version is that? Such as ``3.12``."""
        return self.runtime.removeprefix("python")


def layer_spec(runtime: str, architecture: str) -> LayerSpec:
    """Which layer does this runtime need?"""
    text = REQUIREMENTS.read_text(encoding="utf-8")
    decisive = "\n".join([text, runtime, architecture, *PLATFORMS, str(LAYER_RULES), *KEPT])
    return LayerSpec(runtime, architecture, hashlib.sha256(decisive.encode()).hexdigest())


def build_layer(spec: LayerSpec, cache: Path | None = None) -> Path:
    """Where is the zip of this layer? Built once for each identity and kept.

    Raises:
        ServingError: pip found no wheels for that platform.
    """
    cache = cache or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slipway" / "layers"
    built = cache / f"{spec.identity}.zip"
    if built.is_file():
        return built
    cache.mkdir(parents=True, exist_ok=True)
    scratch = cache / f".{spec.identity}.{os.getpid()}"
    try:
        _install(spec, scratch / "python")
        _trim(scratch / "python")
        write_zip(scratch, scratch.with_suffix(".zip"))
        scratch.with_suffix(".zip").replace(built)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.with_suffix(".zip").unlink(missing_ok=True)
    return built


def build_release(bundle: Bundle, into: Path, runtime: str = "") -> Path:
    """Where is the zip of this release: our runtime and the bundle, a few dozen kilobytes beside the model?

    Args:
        bundle: what it serves.
        into: where it is built.
        runtime: Lambda's name of the Python; when it is given and that Python is here, the zip holds bytecode.
    """
    root = into / "function"
    ignored = shutil.ignore_patterns("__pycache__", "*.txt", *SERVER_ONLY)
    shutil.copytree(RUNTIME, root / "serving" / "runtime", ignore=ignored)
    (root / "serving" / "__init__.py").write_text("", encoding="utf-8")
    if runtime:
        _compile_for(root, "/var/task", runtime.removeprefix("python"))
    shutil.copytree(bundle.folder, root / "bundle")
    return write_zip(root, into / "function.zip")


def build_model_archive(bundle: Bundle, layer: Path, into: Path) -> Path:
    """Where is the model.tar.gz that AWS's prebuilt images serve: the bundle, our handler and the wheels it needs?

    Args:
        bundle: what it serves.
        layer: the dependency layer of the image's Python, whose folder `python` travels along as `code/lib`.
        into: where it is built.
    """
    root = into / "model"
    shutil.copytree(bundle.folder, root / "bundle")
    ignored = shutil.ignore_patterns("__pycache__", "*.txt", *SERVER_ONLY)
    shutil.copytree(RUNTIME, root / "code" / "serving" / "runtime", ignore=ignored)
    (root / "code" / "serving" / "__init__.py").write_text("", encoding="utf-8")
    shutil.copyfile(RUNTIME / "inference.py", root / "code" / "inference.py")
    with zipfile.ZipFile(layer) as archive:
        archive.extractall(into / "layer")
    (into / "layer" / "python").rename(root / "code" / "lib")
    (root / "MAR-INF").mkdir()
    (root / "MAR-INF" / "MANIFEST.json").write_text(ARCHIVE_MANIFEST, encoding="utf-8")
    return write_tar(root, into / "model.tar.gz")


def write_tar(root: Path, target: Path) -> Path:
    """Pack a folder as tar.gz so that equal files give equal bytes; level 1, as weights hardly shrink."""
    import gzip
    import tarfile

    with target.open("wb") as sink, gzip.GzipFile("", "wb", 1, sink, mtime=0) as packed, tarfile.open(
            fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            entry.size, entry.mode = path.stat().st_size, 0o755 if ".so" in path.name else 0o644
            with path.open("rb") as source:
                archive.addfile(entry, source)
    return target


def write_zip(root: Path, target: Path) -> Path:
    """Pack a folder so that equal files give equal bytes: sorted, dated 1980, with fixed modes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if ".so" in path.name else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    return target


def _install(spec: LayerSpec, into: Path) -> None:
    machine = {"x86_64": "x86_64", "arm64": "aarch64"}[spec.architecture]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
               "--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={spec.python}",
               f"--target={into}", *(f"--platform={p}_{machine}" for p in PLATFORMS), f"--requirement={REQUIREMENTS}"]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - our own arguments, no shell
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise ServingError(f"no layer for {spec.runtime} on {spec.architecture}: "
                           f"{lines[-1] if lines else 'pip failed'}. Next: see that pip reaches its package index")


def _trim(folder: Path) -> None:
    kept = {path for pattern in KEPT for path in folder.glob(pattern)}
    for path in folder.rglob("*"):
        if path not in kept and not path.is_dir():
            path.unlink()


def _compile_for(folder: Path, placed: str, python: str) -> None:
    # /var/task is read-only on Lambda: without .pyc each cold start compiles the runtime again. Only the same
    # Python can write them; unchecked-hash ones hold no time stamp.
    interpreter = _interpreter(python)
    if interpreter is None:
        return
    subprocess.run(  # noqa: S603 - our own arguments, no shell
        [interpreter, "-m", "compileall", "-q", "-s", str(folder), "-p", placed, "--invalidation-mode",
         "unchecked-hash", str(folder)], check=False, capture_output=True)


def _interpreter(python: str) -> str | None:
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(f"python{python}")
    if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:  # noqa: S603 - as above
        return found
    return None

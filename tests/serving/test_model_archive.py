"""What model.tar.gz holds for AWS's prebuilt images: the handler answers with nothing but the archive's own folders."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

from serving import bundle as bundles
from serving import package

BUNDLE = Path(__file__).parents[1] / "golden" / "bundles" / "0.1-text-gru"
ASK = """
import inference, sys
model = inference.model_fn(sys.argv[1])
print(inference.transform_fn(model, '{"instances": ["good"]}', "application/json", "*/*")[0].decode())
"""


def test_the_archive_answers_by_itself_and_is_the_same_bytes_again(tmp_path: Path) -> None:
    layer = package.build_layer(package.layer_spec(f"python3.{sys.version_info.minor}", "x86_64"))
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(package.build_model_archive(bundles.verify(BUNDLE), layer, tmp_path / name))
    assert package.digest(made[0]) == package.digest(made[1])
    with tarfile.open(made[0]) as archive:
        archive.extractall(tmp_path / "model", filter="data")
    said = subprocess.run([sys.executable, "-S", "-s", "-c", ASK, str(tmp_path / "model")], capture_output=True,
                          text=True, cwd=tmp_path / "model" / "code", check=True).stdout
    assert len(json.loads(said)["predictions"][0]) == 2

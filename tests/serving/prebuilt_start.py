"""Starts AWS's own model server as its prebuilt images do, its configuration where this user may write.

Run by the Python of the environment that tests/serving/prebuilt.py describes, without this project on its path.
"""

import sys

from sagemaker_inference import model_server

model_server.MMS_CONFIG_FILE = sys.argv[1]
model_server.start_model_server()

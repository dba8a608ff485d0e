# The container server for SageMaker, Vertex AI and Cloud Run. Build with a bundle beside this file:
#   slipway bundle images@Production -o bundle && docker build -t images .
FROM python:3.12-slim
WORKDIR /opt/program
# Of onnxruntime only its C library is used: numpy and the rest that its Python side needs stay away.
RUN pip install --no-cache-dir --no-deps onnxruntime==1.32.0 msgspec==0.22.0 uvloop==0.23.0 httptools==0.9.0 pillow==13.0.0
COPY serving/runtime serving/runtime
COPY bundle /opt/ml/model
# A release that scikit-learn itself serves (engine: skops) brings scikit-learn into its image.
RUN if grep -q '"engine": "skops"' /opt/ml/model/manifest.json; then pip install --no-cache-dir --no-deps -r serving/runtime/requirements-native.txt; fi
RUN touch serving/__init__.py && python -m compileall -q --invalidation-mode unchecked-hash serving
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER nobody
EXPOSE 8080
# SageMaker runs the image with the argument `serve`.
ENTRYPOINT ["python", "-m", "serving.runtime.server"]

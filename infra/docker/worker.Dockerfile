# A worker with the bundled toolchains (those of `make demo`). For others, add `python -m infra.toolchains NAME`, or start
# from the vendor's own image.
FROM python:3.11-slim
WORKDIR /app
COPY infra/bootstrap.lock requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r bootstrap.lock \
 && uv pip install --system --no-cache --require-hashes -r requirements.lock
COPY shared shared
COPY worker worker
COPY infra infra
ENV PYTHONPATH=/app MODEL_CONVERT_TOOLCHAINS_DIR=/opt/toolchains
RUN python -m infra.toolchains --bundled
RUN useradd --system --create-home app
USER app
CMD ["python", "-m", "worker"]

# All functions behind one port.
FROM python:3.11-slim
WORKDIR /app
COPY infra/bootstrap.lock requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r bootstrap.lock \
 && uv pip install --system --no-cache --require-hashes -r requirements.lock
COPY shared shared
COPY functions functions
COPY infra infra
RUN useradd --system app
USER app
ENV PYTHONPATH=/app
EXPOSE 8000
CMD ["python", "-m", "infra.gateway", "--host", "0.0.0.0", "--port", "8000"]

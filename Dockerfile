# The service without a database of its own: compose.yaml gives it one.

# A digest in place of the tag says exactly which image: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /app
COPY requirements.txt ./
RUN python -m venv .venv && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt
COPY pyproject.toml README.md ./
COPY domain domain
COPY projections projections
COPY api api
COPY scripts scripts
RUN .venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-index -e .

FROM ${PYTHON_IMAGE}
RUN useradd --system --home-dir /app --shell /usr/sbin/nologin tallystick
COPY --from=build /app /app
WORKDIR /app
USER tallystick
ENV PATH=/app/.venv/bin:$PATH TALLYSTICK_HOST=0.0.0.0
EXPOSE 8000
ENTRYPOINT ["tallystick"]
CMD ["serve"]

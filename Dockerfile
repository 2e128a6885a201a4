# The image of every pipeline task on Kubeflow: these packages and requirements/current.lock. See docs/kubeflow.md.
#
#   docker build --platform linux/amd64 --tag registry.example/hrlrec:1 .
#
# Debian 13 (trixie) has glibc 2.41; TFX's libraries of this lock need 2.39.
ARG BASE=python:3.11-slim-trixie

FROM ${BASE} AS build
# One dependency (pyfarmhash) is built from source.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/hrlrec
ENV PATH=/opt/hrlrec/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/current.lock requirements/
RUN pip install "$(grep '^pip==' requirements/current.lock)" \
    && pip install -r requirements/current.lock
COPY setup.py pyproject.toml README.md ./
COPY hrlrec_tf hrlrec_tf/
COPY serving serving/
COPY tfx_pipeline tfx_pipeline/
RUN pip install --no-deps --no-build-isolation . \
    && pip check

FROM ${BASE}
RUN useradd --create-home --uid 10001 hrlrec
COPY --from=build /opt/hrlrec /opt/hrlrec
ENV PATH=/opt/hrlrec/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=2 \
    TF_USE_LEGACY_KERAS=1
# By number, so that Kubernetes can tell that it is not root (runAsNonRoot).
USER 10001
WORKDIR /home/hrlrec
ENTRYPOINT ["python", "-m", "tfx_pipeline.kubeflow_entrypoint"]

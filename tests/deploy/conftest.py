"""The manifests, rendered once."""

import pytest

from tests.deploy.kubernetes_manifests import (
    OVERLAYS,
    Rendering,
    all_renderings,
    objects_of,
)

LARGEST = Rendering("overlays/many-gpus", ("fetch-urls", "prometheus-operator", "grafana"))


@pytest.fixture(params=all_renderings(), ids=str)
def objects(request, tmp_path_factory):
    """The objects of each rendering in turn."""
    return objects_of(request.param, tmp_path_factory)


@pytest.fixture(params=OVERLAYS)
def overlay(request, tmp_path_factory):
    """The objects of each overlay as it is."""
    return objects_of(Rendering(f"overlays/{request.param}"), tmp_path_factory)


@pytest.fixture
def small(tmp_path_factory):
    return objects_of(Rendering("overlays/small"), tmp_path_factory)


@pytest.fixture
def many(tmp_path_factory):
    return objects_of(Rendering("overlays/many-gpus"), tmp_path_factory)


@pytest.fixture
def largest(tmp_path_factory):
    return objects_of(LARGEST, tmp_path_factory)

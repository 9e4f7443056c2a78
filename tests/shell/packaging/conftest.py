"""The wheel, built once, and installed where the source tree is not on the path."""

from pathlib import Path

import pytest

from tests.lab.packages import ROOT, build_wheel, environment_with


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment that has the wheel."""
    return environment_with(wheel, tmp_path_factory.mktemp("environment"))

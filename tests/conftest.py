"""What every test may count on: the marks, and hypothesis kept short unless HYPOTHESIS_PROFILE says otherwise."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: runs a real agent with real servers and clients (nox -s e2e)")


def pytest_report_header() -> str:
    """Which implementation of the core runs."""
    import agent.core.session

    file = agent.core.session.__file__ or ""
    return f"agent.core: {'compiled' if file.endswith('.so') else 'interpreted'} ({file})"

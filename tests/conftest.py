"""What holds for all tests."""

import pytest
from hypothesis import HealthCheck, settings

# Hypothesis draws the same examples in every run, however slow the machine is: no test fails by luck.
settings.register_profile(
    "same_every_run", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same_every_run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are slow already do without the tracing of coverage; the others must reach every line."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker("no_cover")

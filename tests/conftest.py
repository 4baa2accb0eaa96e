"""Hypothesis draws the same examples in every run, however slow the machine is: no test fails by luck."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "same_every_run", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same_every_run")

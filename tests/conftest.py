"""What every run of these tests has."""

pytest_plugins = ["agentd.testing.plugin"]
collect_ignore = ["parrot"]
"""A package of its own, whose tests are run where it is installed: tests/shell/third_party."""

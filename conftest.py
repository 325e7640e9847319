"""Puts the repository root on the path, so that tests find `tests.*`, and loads the rule about skipped tests."""

pytest_plugins = ["tests.skip_policy"]

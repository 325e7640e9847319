"""Puts the repository root on the path, so that tests find `tests.*`, and loads the rule on skips."""

pytest_plugins = ["tests.skip_policy"]

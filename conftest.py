"""Puts the repository root on the path, so that tests find `tests.*`; the rules on skips and on sharing."""

pytest_plugins = ["tests.skip_policy", "tests.sharing"]

"""Load the plug-in."""

pytest_plugins = ["mace_conformance.plugin", "pytester"]

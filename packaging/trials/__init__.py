"""Installs the artefacts as users do, each in an empty home, and makes the first call with it."""

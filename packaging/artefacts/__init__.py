"""Builds what users install from binaries that are built already; one module for each kind of artefact."""

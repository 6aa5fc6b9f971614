"""The version in files that are written by hand, because those who deploy read them as they are."""

import pathlib
import re

from .project import ROOT, VERSION

# Each pattern has the version between its two groups.
DEPLOYED = {
    "Dockerfile": r"^(ARG VERSION=).+($)",
    "deploy/helm/portkey-mcp/Chart.yaml": r'^((?:version|appVersion): "?)[^"\n]+("?$)',
    "deploy/kubernetes/kustomization.yaml": r"^(    newTag: ).+($)",
}


def named(file: str) -> list[str]:
    """Returns each version that a file names."""
    found = re.finditer(DEPLOYED[file], (ROOT / file).read_text(), re.MULTILINE)
    return [match[0].removeprefix(match[1]).removesuffix(match[2]) for match in found]


def updated() -> dict[pathlib.Path, str]:
    """Returns the files with the version of Cargo.toml."""
    texts = {ROOT / file: (ROOT / file).read_text() for file in DEPLOYED}
    return {
        path: re.sub(pattern, rf"\g<1>{VERSION}\g<2>", text, flags=re.MULTILINE)
        for (path, text), pattern in zip(texts.items(), DEPLOYED.values(), strict=True)
    }

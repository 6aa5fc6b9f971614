"""What Cargo.toml says about the project: every artefact takes its version, texts and addresses from here."""

import pathlib
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"

_CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())

NAME: str = _CARGO["package"]["name"]
TITLE = "Portkey Admin"
VERSION: str = _CARGO["workspace"]["package"]["version"]
DESCRIPTION: str = _CARGO["package"]["description"]
KEYWORDS: list[str] = _CARGO["package"]["keywords"]
LICENSE: str = _CARGO["workspace"]["package"]["license"]
AUTHOR = "portkey-mcp maintainers"
# Its owner is the account that publishes. A release refuses the placeholder.
REPOSITORY: str = _CARGO["workspace"]["package"]["repository"]
OWNER = REPOSITORY.removeprefix("https://github.com/").partition("/")[0]
REGISTRY_NAME = f"io.github.{OWNER}/{NAME}"
IMAGE = f"ghcr.io/{OWNER.lower()}/{NAME}"

SHELLS = {"bash": f"{NAME}.bash", "zsh": f"_{NAME}", "fish": f"{NAME}.fish", "powershell": f"_{NAME}.ps1"}


def download_url(file: str) -> str:
    """Returns the address of a file of this version's release."""
    return f"{REPOSITORY}/releases/download/v{VERSION}/{file}"

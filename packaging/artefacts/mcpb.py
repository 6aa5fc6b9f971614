"""Bundles for Claude Desktop, packed and validated by the tool of their format."""

import json
import pathlib
import subprocess
import tempfile

from . import settings
from .project import AUTHOR, DESCRIPTION, KEYWORDS, LICENSE, NAME, REPOSITORY, ROOT, TITLE, VERSION

# A bundle names systems but not processors, so that of macOS has a binary for both.
PLATFORMS = ("darwin", "win32", "linux")


def file_name(platform: str) -> str:
    """Returns the name of a bundle."""
    return f"{NAME}-{VERSION}-{platform}.mcpb"


def manifest(platform: str) -> dict:
    """Returns the manifest of a bundle."""
    executable = f"{NAME}.exe" if platform == "win32" else NAME
    entry = f"server/{executable}"
    return {
        "manifest_version": "0.3",
        "name": NAME,
        "display_name": TITLE,
        "version": VERSION,
        "description": DESCRIPTION,
        "author": {"name": AUTHOR},
        "repository": {"type": "git", "url": REPOSITORY},
        "license": LICENSE,
        "keywords": KEYWORDS,
        "server": {
            "type": "binary",
            "entry_point": entry,
            "mcp_config": {
                "command": f"${{__dirname}}/{entry}",
                "args": ["stdio"],
                "env": settings.environment(),
            },
        },
        "tools_generated": True,
        "prompts_generated": True,
        "compatibility": {"platforms": [platform]},
        # Claude Desktop puts every tool before its model.
        "user_config": settings.form(surface="compact"),
    }


def write_bundle(folder: pathlib.Path, platform: str, binary: pathlib.Path, mcpb: pathlib.Path) -> pathlib.Path:
    """Writes a bundle; `mcpb` is the command of the package @anthropic-ai/mcpb."""
    described = manifest(platform)
    with tempfile.TemporaryDirectory(prefix="portkey-mcp-mcpb-") as name:
        stage = pathlib.Path(name)
        executable = stage / described["server"]["entry_point"]
        executable.parent.mkdir()
        executable.write_bytes(binary.read_bytes())
        executable.chmod(0o755)
        (stage / "LICENSE").write_bytes((ROOT / "LICENSE").read_bytes())
        (stage / "manifest.json").write_text(json.dumps(described, indent=2) + "\n")
        bundle = folder.resolve() / file_name(platform)
        for command in (("validate", str(stage / "manifest.json")), ("pack", str(stage), str(bundle))):
            done = subprocess.run([str(mcpb), *command], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"mcpb {command[0]} fails\n{done.stdout}{done.stderr}")
    return bundle

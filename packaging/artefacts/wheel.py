"""Wheels of PyPI. A wheel around a binary is a zip file with the binary and three texts.

The result is that of maturin with `bindings = "bin"`. It is written here because maturin takes the binary from a build
of its own, and every artefact must have the same binary.
"""

import base64
import hashlib
import pathlib

from .pack import Entry, write_zip
from .project import AUTHOR, DESCRIPTION, KEYWORDS, LICENSE, NAME, PACKAGING, REGISTRY_NAME, REPOSITORY, ROOT, VERSION
from .targets import Target

MODULE = NAME.replace("-", "_")


def _metadata() -> str:
    fields = [
        ("Metadata-Version", "2.4"),
        ("Name", NAME),
        ("Version", VERSION),
        ("Summary", DESCRIPTION),
        ("Keywords", ",".join(KEYWORDS)),
        ("Author", AUTHOR),
        ("License-Expression", LICENSE),
        ("License-File", "LICENSE"),
        ("Project-URL", f"Source Code, {REPOSITORY}"),
        ("Requires-Python", ">=3.8"),
        ("Description-Content-Type", "text/markdown"),
    ]
    head = "".join(f"{name}: {value}\n" for name, value in fields)
    readme = (PACKAGING / "pypi" / "README.md").read_text()
    # The registry of MCP servers proves by this line that both have the same owner.
    return f"{head}\n{readme}\n<!-- mcp-name: {REGISTRY_NAME} -->\n"


def _record(entries: list[Entry], name: str) -> Entry:
    lines = []
    for entry in entries:
        digest = base64.urlsafe_b64encode(hashlib.sha256(entry.content).digest()).rstrip(b"=").decode()
        lines.append(f"{entry.name},sha256={digest},{len(entry.content)}\n")
    return Entry(name, "".join([*lines, f"{name},,\n"]).encode())


def write_wheel(folder: pathlib.Path, target: Target, binary: pathlib.Path) -> pathlib.Path:
    """Writes the wheel of a platform."""
    tags = target.platform_tags(binary)
    info = f"{MODULE}-{VERSION}.dist-info"
    wheel = "Wheel-Version: 1.0\nGenerator: portkey-mcp packaging\nRoot-Is-Purelib: false\n"
    wheel += "".join(f"Tag: py3-none-{tag}\n" for tag in tags)
    entries = [
        Entry.read(binary, f"{MODULE}-{VERSION}.data/scripts/{target.executable}", executable=True),
        Entry(f"{info}/METADATA", _metadata().encode()),
        Entry(f"{info}/WHEEL", wheel.encode()),
        Entry.read(ROOT / "LICENSE", f"{info}/licenses/LICENSE"),
    ]
    entries.append(_record(entries, f"{info}/RECORD"))
    return write_zip(folder / f"{MODULE}-{VERSION}-py3-none-{'.'.join(tags)}.whl", entries)

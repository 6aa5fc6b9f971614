"""What clients read from the repository itself: plugin, extension, and the links of `docs/install.md`.

These files are committed. `packaging/build.py manifests` writes them, and `packaging/check.py` compares them.
"""

import base64
import json
import pathlib
import urllib.parse

from . import settings
from .project import AUTHOR, DESCRIPTION, KEYWORDS, LICENSE, NAME, REPOSITORY, ROOT, VERSION

# The name under which clients show the server.
SERVER = "portkey"
INSTALL_DOCUMENT = ROOT / "docs" / "install.md"
BEGIN, END = "<!-- links -->\n", "<!-- end of links -->"
INPUT = "portkey-key"
# For clients that put every tool before their model, as `portkey-mcp setup` starts it for them.
COMPACT = ["stdio", "--surface", "compact"]


def _pinned(args: list[str]) -> dict:
    """Returns how a manifest starts the server: always in the version that the manifest has."""
    return {"command": "npx", "args": ["-y", f"{NAME}@{VERSION}", *args]}


def marketplace() -> dict:
    """Returns the marketplace of Claude Code, which has to lie at the root."""
    plugin = {
        "name": NAME,
        "source": "./packaging/claude-code",
        "description": DESCRIPTION,
        "version": VERSION,
        "author": {"name": AUTHOR},
        "license": LICENSE,
        "keywords": KEYWORDS,
    }
    return {"name": NAME, "owner": {"name": AUTHOR}, "metadata": {"description": DESCRIPTION}, "plugins": [plugin]}


def plugin() -> dict:
    """Returns the plugin of Claude Code, which searches tools by itself."""
    return {
        "name": NAME,
        "version": VERSION,
        "description": DESCRIPTION,
        "author": {"name": AUTHOR},
        "repository": REPOSITORY,
        "license": LICENSE,
        "keywords": KEYWORDS,
        "mcpServers": {SERVER: _pinned(["stdio"]) | {"env": settings.environment()}},
        "userConfig": settings.form(),
    }


def extension() -> dict:
    """Returns the extension of Gemini CLI, which has to lie at the root. It hands its settings on as variables."""
    asked = []
    for setting in settings.SETTINGS:
        # The argument takes precedence over its variable.
        if setting is settings.SURFACE:
            continue
        field = {"name": setting.title, "description": setting.description, "envVar": setting.variable}
        asked.append(field | {"sensitive": True} if setting.sensitive else field)
    return {
        "name": NAME,
        "version": VERSION,
        "description": DESCRIPTION,
        "mcpServers": {SERVER: _pinned(COMPACT)},
        "settings": asked,
    }


def _stdio(sandbox: bool, key: str) -> dict:
    started: dict = {"command": "npx", "args": ["-y", NAME, *COMPACT]}
    if sandbox:
        started["args"].append("--sandbox")
    else:
        started["env"] = {settings.KEY.variable: key}
    return started


def cursor_configuration(sandbox: bool) -> dict:
    """Returns what Cursor stores, which reads the key from the variable of that name."""
    return _stdio(sandbox, f"${{env:{settings.KEY.variable}}}")


def vscode_configuration(sandbox: bool) -> dict:
    """Returns what VS Code stores, which asks for the key once."""
    return {"type": "stdio"} | _stdio(sandbox, f"${{input:{INPUT}}}")


def vscode_inputs(sandbox: bool) -> list[dict]:
    """Returns what VS Code asks for."""
    asked = {"id": INPUT, "type": "promptString", "description": settings.KEY.title, "password": True}
    return [] if sandbox else [asked]


def _to_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def cursor_link(sandbox: bool) -> str:
    """Returns the link that adds the server to Cursor."""
    config = base64.b64encode(_to_json(cursor_configuration(sandbox)).encode()).decode()
    return "https://cursor.com/en/install-mcp?" + urllib.parse.urlencode({"name": SERVER, "config": config})


def vscode_link(sandbox: bool) -> str:
    """Returns the link that adds the server to VS Code."""
    query = {"name": SERVER, "config": _to_json(vscode_configuration(sandbox))}
    if asked := vscode_inputs(sandbox):
        query["inputs"] = _to_json(asked)
    # A space as %20: VS Code does not take a plus as one.
    encoded = urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
    return f"https://insiders.vscode.dev/redirect/mcp/install?{encoded}"


def codex_configuration() -> str:
    """Returns what Codex has in its configuration file, which hands the variable on."""
    return (
        f"[mcp_servers.{SERVER}]\n"
        'command = "npx"\n'
        f"args = {json.dumps(['-y', NAME, *COMPACT])}\n"
        f"env_vars = {json.dumps([settings.KEY.variable])}\n"
    )


def _links() -> str:
    lines = ["| Client | With your key | On the sandbox |", "| --- | --- | --- |"]
    for client, link in (("Cursor", cursor_link), ("VS Code", vscode_link)):
        lines.append(f"| {client} | [Add]({link(False)}) | [Add]({link(True)}) |")
    return "\n".join(lines) + f"\n\nCodex, in `~/.codex/config.toml`:\n\n```toml\n{codex_configuration()}```\n"


def committed() -> dict[pathlib.Path, str]:
    """Returns each committed file, and the text that it must have."""
    files = {
        ROOT / ".claude-plugin" / "marketplace.json": marketplace(),
        ROOT / "packaging" / "claude-code" / ".claude-plugin" / "plugin.json": plugin(),
        ROOT / "gemini-extension.json": extension(),
    }
    texts = {file: json.dumps(content, indent=2) + "\n" for file, content in files.items()}
    before, begin, rest = INSTALL_DOCUMENT.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    texts[INSTALL_DOCUMENT] = before + begin + _links() + end + after
    return texts

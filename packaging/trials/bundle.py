"""MCPB: unpacked and started as Claude Desktop does, with the values of its form."""

import json
import pathlib
import subprocess
import zipfile

from artefacts import mcpb
from artefacts.project import NAME

from .home import ANSWERS, Clock, Home, empty_home, prove
from .table import Row


def trial(dist: pathlib.Path) -> Row:
    """Tries all of it."""
    bundle = dist / mcpb.file_name("linux")
    with empty_home() as home:
        clock = Clock()
        folder = home.folder / "bundle"
        with zipfile.ZipFile(bundle) as archive:
            for info in archive.infolist():
                archive.extract(info, folder)
                (folder / info.filename).chmod(info.external_attr >> 16)
        manifest = json.loads((folder / "manifest.json").read_text())
        every = {"sandbox": True, "surface": "operations"}
        _, slugs = _converse(home, folder, manifest, every)
        row = Row("MCPB", "the bundle, opened in Claude Desktop", clock.seconds, bundle.stat().st_size)
        prove("mcpb: answers", ANSWERS in slugs, slugs)
        all_tools, _ = _converse(home, folder, manifest, every)
        reads, _ = _converse(home, folder, manifest, every | {"read_only": True})
        prove("mcpb: read-only leaves out tools", 0 < len(reads) < len(all_tools), len(reads))
        few, _ = _converse(home, folder, manifest, every | {"toolsets": "integrations"})
        prove("mcpb: toolsets leave out tools", 0 < len(few) < len(reads), len(few))
        compact, _ = _converse(home, folder, manifest, {"sandbox": True}, asks=False)
        prove("mcpb: the compact surface is short, and the default", 0 < len(compact) < len(reads) / 3, len(compact))
        secret = [name for name, field in manifest["user_config"].items() if field.get("sensitive")]
        prove("mcpb: the key is sensitive", secret == ["api_key"], secret)
    return row


def _converse(
    home: Home, folder: pathlib.Path, manifest: dict, chosen: dict[str, str | bool], asks: bool = True
) -> tuple[list[str], list[str]]:
    """Returns the names of the tools, and the slugs of a call."""
    values = {name: field.get("default", "") for name, field in manifest["user_config"].items()} | chosen

    def fill(text: str) -> str:
        text = text.replace("${__dirname}", str(folder))
        for name, value in values.items():
            shown = str(value).lower() if isinstance(value, bool) else value
            text = text.replace(f"${{user_config.{name}}}", shown)
        return text

    started = manifest["server"]["mcp_config"]
    client = {"name": "trial", "version": "1"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    if asks:
        call = {"name": "list-all-integrations", "arguments": {}}
        messages.append({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call})
    done = subprocess.run(
        [fill(started["command"]), *map(fill, started["args"])],
        cwd=home.folder,
        env=home.environment | {name: fill(value) for name, value in started["env"].items()},
        input="".join(json.dumps(message) + "\n" for message in messages),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    answers = {answer["id"]: answer["result"] for answer in map(json.loads, done.stdout.splitlines())}
    prove(f"mcpb: {json.dumps(chosen)} starts {NAME}", answers[1]["serverInfo"]["name"] == NAME, answers[1])
    tools = [tool["name"] for tool in answers[2]["tools"]]
    slugs = [item["slug"] for item in answers[3]["structuredContent"]["data"]] if asks else []
    return tools, slugs

"""The official Python MCP SDK against the server: both transports, both protocol generations, with and
without a token."""

import json
import re

import anyio
from jsonschema import Draft202012Validator
from mcp import Client, MCPError, StdioServerParameters
from mcp.client import Transport
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.types import CallToolResult, TextContent

from harness import (
    PATIENCE,
    Unproven,
    environment,
    finish,
    listening,
    program,
    prove,
    run,
    token,
)

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
# What the SDK calls the ways to agree on a version, and the version that has to come of it.
GENERATIONS = {"legacy": HANDSHAKE, "auto": MODERN}
INVALID_PARAMS = -32602
# So small that a list does not fit.
COMPACT = ("--surface", "compact", "--max-result-bytes", "2000")


def stdio(*arguments: str) -> StdioServerParameters:
    arguments = ("stdio", "--sandbox", "--log-level", "error", *arguments)
    return StdioServerParameters(command=program(), args=list(arguments), env=environment())


async def main() -> None:
    for mode, version in GENERATIONS.items():
        await exercise(f"stdio {version}", stdio(), mode)
        await compact(f"stdio {version}", stdio(*COMPACT), mode)
    await pages()
    http = ("http", "--sandbox", "--listen", "127.0.0.1:0", "--log-level", "info")
    with listening(*http) as url:
        for mode, version in GENERATIONS.items():
            await exercise(f"http {version}", url, mode)
        await many(url)
    with listening(*http, *COMPACT) as url:
        for mode, version in GENERATIONS.items():
            await compact(f"http {version}", url, mode)
    with token() as (secret, file), listening(*http, "--auth", "token", "--auth-file", file) as url:
        for mode, version in GENERATIONS.items():
            await exercise(f"http with a token {version}", with_token(url, secret), mode)
            await turned_away(f"http without its token {version}", url, mode)


def with_token(url: str, secret: str) -> Transport:
    client = create_mcp_http_client(headers={"Authorization": f"Bearer {secret}"})
    return streamable_http_client(url, http_client=client)


async def turned_away(title: str, url: str, mode: str) -> None:
    found = "nothing was wrong"
    try:
        async with Client(url, mode=mode, read_timeout_seconds=PATIENCE):
            pass
    except* MCPError as failures:
        found = repr(failures)
    prove(f"{title}: is told that it takes one", "wants a token" in found, found)


async def exercise(title: str, server: StdioServerParameters | Transport | str, mode: str) -> None:
    async with Client(server, mode=mode, read_timeout_seconds=PATIENCE) as client:
        agreed, us = client.protocol_version, client.server_info
        prove(f"{title}: agrees on the protocol version", agreed == GENERATIONS[mode], agreed)
        prove(f"{title}: introduces itself", us is not None and us.name == "portkey-mcp", us)
        prove(f"{title}: gives instructions", bool(client.instructions), client.instructions)
        await tools(title, client)
        await lifecycle(title, client)
        await mistakes(title, client)


async def tools(title: str, client: Client) -> None:
    listed = (await client.list_tools()).tools
    names = [tool.name for tool in listed]
    prove(f"{title}: lists {len(names)} tools", len(names) >= 27, names)
    # Through JSON, because the SDK's models leave out what has no value.
    wire = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed]
    printed = json.loads(run("tools", "--format", "json", "--sandbox"))
    prove(f"{title}: lists what `tools --format json` prints", wire == printed, wire)
    odd = [name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)]
    prove(f"{title}: names are kebab-case and in order", not odd and names == sorted(names), odd)
    bare = [
        tool.name
        for tool in listed
        if not (tool.title and tool.description and tool.annotations)
        or tool.annotations.read_only_hint is None
        or tool.annotations.destructive_hint is None
    ]
    prove(f"{title}: every tool has a title, a description and hints", not bare, bare)
    for tool in listed:
        Draft202012Validator.check_schema(tool.input_schema)
    prove(
        f"{title}: every input schema is a JSON Schema of an object",
        all(
            tool.input_schema.get("type") == "object" and "properties" in tool.input_schema
            for tool in listed
        ),
    )


async def lifecycle(title: str, client: Client) -> None:
    before = answer(await client.call_tool("list-all-integrations", {}))
    total = before["total"]
    prove(f"{title}: list-all-integrations answers", total == len(before["data"]) > 0, before)
    page = answer(await client.call_tool("list-all-integrations", {"page_size": 2}))
    prove(f"{title}: a page has what was asked for", len(page["data"]) == 2, page)

    slug, key = "clients-mcp", "sk-0123456789abcdef"
    new = {"name": "From a client", "ai_provider_id": "openai", "slug": slug, "key": key}
    made = answer(await client.call_tool("create-integration", new))
    prove(f"{title}: creates an integration", made["slug"] == slug and made["id"], made)
    got = answer(await client.call_tool("get-integration", {"slug": slug}))
    prove(f"{title}: gets it", got["name"] == new["name"] and got["id"] == made["id"], got)
    prove(f"{title}: its key comes back masked", key not in json.dumps(got), got)
    change = {"slug": slug, "description": "Changed"}
    answer(await client.call_tool("update-integration", change))
    got = answer(await client.call_tool("get-integration", {"slug": slug}))
    kept = got["name"] == new["name"]
    prove(f"{title}: updates it", got["description"] == "Changed" and kept, got)
    answer(await client.call_tool("delete-integration", {"slug": slug}))
    gone = complaint(await client.call_tool("get-integration", {"slug": slug}))
    prove(f"{title}: deletes it; then it is a 404", "404" in gone and slug in gone, gone)
    after = answer(await client.call_tool("list-all-integrations", {}))
    prove(f"{title}: leaves nothing behind", after["total"] == total, after["total"])


async def compact(title: str, server: StdioServerParameters | str, mode: str) -> None:
    title = f"{title}, compact"
    async with Client(server, mode=mode, read_timeout_seconds=PATIENCE) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        few = len(names) <= 24 and "search-operations" in names
        prove(f"{title}: lists two dozen tools at most", few, names)
        wanted = {"query": "which AI provider keys do we have"}
        found = answer(await client.call_tool("search-operations", wanted))["operations"]
        best = next((one for one in found if one["operation"] == "list-all-integrations"), None)
        prove(f"{title}: finds the operation for a task", best is not None, found)
        call = {"operation": best["operation"]}
        part = answer(await client.call_tool(best["call_by"], call))
        shown, handle = len(part["data"]), part["truncated"]["handle"]
        whole = part["total"] > shown and len(json.dumps(part)) < 3000
        prove(f"{title}: shows a large list in part", whole, part)
        rest = {"handle": handle, "pointer": "/data", "offset": shown}
        rest = answer(await client.call_tool("read-result", rest))
        on = rest["returned"] > 0 and rest["total"] == part["total"]
        prove(f"{title}: reads on where the part ends", on, rest)
        rest = {"handle": handle, "search": part["data"][0]["slug"]}
        hits = answer(await client.call_tool("read-result", rest))
        prove(f"{title}: searches what was not shown", bool(hits["matches"]), hits)


async def mistakes(title: str, client: Client) -> None:
    wrong = complaint(await client.call_tool("list-all-integrations", {"page_size": "many"}))
    prove(f"{title}: a wrong argument is an error with its path", "`page_size`" in wrong, wrong)
    wrong = {"name": "X", "ai_provider_id": "bedrock", "configurations": {"aws_regoin": "eu"}}
    wrong = complaint(await client.call_tool("create-integration", wrong))
    told = "`configurations.aws_regoin`" in wrong and "`aws_region`" in wrong
    prove(f"{title}: a misspelt inner argument is told its right name", told, wrong)
    wrong = complaint(await client.call_tool("get-integration", {}))
    prove(f"{title}: a missing argument is an error with its path", "`slug`" in wrong, wrong)
    try:
        found = await client.call_tool("no-such-tool", {})
        raise Unproven(f"{title}: an unknown tool is no protocol error; found {found!r}")
    except MCPError as error:
        known = error.code == INVALID_PARAMS and "no-such-tool" in error.message
        prove(f"{title}: an unknown tool is a protocol error", known, error)


async def pages() -> None:
    async with Client(stdio("--tools-page", "10"), read_timeout_seconds=PATIENCE) as client:
        names, cursor, turned = [], None, 0
        while turned == 0 or cursor:
            page = await client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            cursor, turned = page.next_cursor, turned + 1
    everything = [tool["name"] for tool in json.loads(run("tools", "--format", "json", "--sandbox"))]
    prove(f"stdio: {turned} pages of tools make up the list", names == everything, names)


async def many(url: str) -> None:
    """Many calls at once, of several clients: each gets its own answer."""
    slugs = ["openai-production", "anthropic", "azure-eu"]
    wrong: list[object] = []

    async def one(client: Client, slug: str) -> None:
        got = answer(await client.call_tool("get-integration", {"slug": slug}))
        if got["slug"] != slug:
            wrong.append((slug, got))

    async def several(mode: str) -> None:
        client = Client(url, mode=mode, read_timeout_seconds=PATIENCE)
        async with client, anyio.create_task_group() as calls:
            for number in range(30):
                calls.start_soon(one, client, slugs[number % len(slugs)])

    async with anyio.create_task_group() as clients:
        for mode in [*GENERATIONS] * 2:
            clients.start_soon(several, mode)
    prove("http: 120 calls at once of 4 clients are answered, each with its own", not wrong, wrong)


def answer(result: CallToolResult) -> dict:
    """What a call that succeeded answered, in both forms it comes in."""
    (text,) = texts(result)
    if result.is_error:
        raise Unproven(f"a call failed: {text}")
    if json.loads(text) != result.structured_content:
        raise Unproven(f"text and structured content differ: {result!r}")
    return result.structured_content


def complaint(result: CallToolResult) -> str:
    """What a call that failed says."""
    if not result.is_error or result.structured_content is not None:
        raise Unproven(f"this should have been an error: {result!r}")
    return "\n".join(texts(result))


def texts(result: CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, TextContent)]


if __name__ == "__main__":
    try:
        anyio.run(main)
    except Exception as failure:
        finish(failure)

"""Portkey's official clients for Python and Node.js, and the requests of its Terraform provider, through the
REST face in front of the sandbox. They notice nothing of the server in between, and a policy stops their
deletions."""

import pathlib
import subprocess
import tempfile

from portkey_ai import Portkey

import python_portkey
import rest
import terraform
from harness import PATIENCE, Unproven, environment, finish, node, prove

# Deletions of the Python client, by the name of the tool.
DELETIONS = {
    "delete-workspace": lambda client: client.admin.workspaces.delete(workspace_id="ws-shared", name="Shared"),
    "remove-workspace-member": lambda client: client.admin.workspaces.users.delete(workspace_id="ws-shared", user_id="u"),
    "delete-integration": lambda client: client.integrations.delete(slug="openai-production"),
    "delete-provider": lambda client: client.providers.delete(slug="openai-production", workspace_id="ws-shared"),
    "delete-virtual-key": lambda client: client.virtual_keys.delete(slug="openai-production"),
    "delete-config": lambda client: client.configs.delete(slug="pc-support-fallback"),
    "delete-prompt": lambda client: client.prompts.delete("pp-refund-reply"),
    "delete-api-key": lambda client: client.api_keys.delete(id="some-id"),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        python, javascript, provider = (str(pathlib.Path(folder, name)) for name in ("python", "node", "terraform"))
        with rest.face("--audit-log", python) as (url, key):
            python_portkey.exercise(Portkey(base_url=url, api_key=key, max_retries=0))
        with rest.face("--audit-log", javascript) as (url, key):
            run_node("exercise", url, key)
        terraform.replay(provider)
        for name, log in (("python", python), ("node", javascript), ("terraform", provider)):
            entries = rest.entries(log)
            tools = {entry["tool"] for entry in entries}
            what = f"{name}: {len(entries)} calls of {len(tools)} tools are in the audit log, as REST"
            prove(what, len(tools) >= 25, tools)
    with rest.denying_face() as (url, key, audited):
        client = Portkey(base_url=url, api_key=key, max_retries=0)
        before = slugs(client)
        for tool, delete in DELETIONS.items():
            python_portkey.refused(403, rest.MESSAGE, lambda: delete(client))
            prove(f"python: is told why it is denied: {tool}", True)
        run_node("denied", url, key, rest.MESSAGE)
        terraform.denied(url, key)
        prove("nothing was deleted", slugs(client) == before)
    rest.prove_denied(audited, DELETIONS)


def slugs(client: Portkey) -> list[str]:
    return [integration.slug for integration in client.integrations.list(page_size=100).data]


def run_node(*arguments: str) -> None:
    """Runs the script of the Node.js client, which says what it has proven."""
    script = pathlib.Path(__file__).parent / "node_portkey.mjs"
    done = subprocess.run(
        [node(), str(script), *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        raise Unproven(f"node_portkey.mjs {arguments[0]} ended with {done.returncode}:\n{done.stderr}")


if __name__ == "__main__":
    try:
        main()
    except Exception as failure:
        finish(failure)

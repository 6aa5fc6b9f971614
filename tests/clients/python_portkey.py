"""Portkey's official Python client against the sandbox: what it holds for Portkey, it is."""

import json
from collections.abc import Callable

from portkey_ai import Portkey

from harness import Unproven, finish, listening, prove

# The seeded workspace whose providers have no rate limits: the client reads those of lists as an
# object, while Portkey documents and sends an array.
WORKSPACE = "ws-shared"


def main() -> None:
    with listening("sandbox", "--listen", "127.0.0.1:0", "--log-level", "info") as url:
        client = Portkey(base_url=url, api_key="pk-any", max_retries=0)
        exercise(client)
        refusals(client, Portkey(base_url=url, api_key="sandbox-admin", max_retries=0))


def exercise(client: Portkey) -> None:
    """Makes the calls that have to succeed, and leaves nothing."""
    workspaces(client)
    integrations(client)
    providers(client)
    virtual_keys(client)
    configs(client)
    prompts(client)
    api_keys(client)
    mcp_integrations(client)


def workspaces(client: Portkey) -> None:
    admin = client.admin.workspaces
    listed = admin.list()
    slugs = [workspace["slug"] for workspace in listed.data]
    prove("workspaces: lists them", WORKSPACE in slugs and listed.total == len(slugs), slugs)
    got = admin.retrieve(workspace_id=WORKSPACE)
    prove("workspaces: retrieves one", got.slug == WORKSPACE, got)

    made = admin.create(name="From a client", description="New", defaults={"metadata": {"a": "b"}})
    prove("workspaces: creates one", made.name == "From a client" and bool(made.slug), made)
    one = {"workspace_id": made.slug}
    prove("workspaces: lists it", admin.list().total == listed.total + 1)
    admin.update(**one, name="Renamed", defaults={"metadata": {"a": "c"}})
    got = admin.retrieve(**one)
    same = (got.id, got.description, got.defaults["metadata"]) == (made.id, "New", {"a": "c"})
    prove("workspaces: updates and retrieves it", same and got.name == "Renamed", got)

    user = client.admin.users.list().data[0]["id"]
    admin.users.create(**one, users=[{"id": user, "role": "manager"}])
    members = [member["id"] for member in admin.users.list(**one).data]
    prove("workspaces: takes a member", user in members, members)
    admin.users.update(**one, user_id=user, role="member")
    got = admin.users.retrieve(**one, user_id=user)
    # The API puts "ws-" before the role of a single member.
    prove("workspaces: changes a member's role", got.role == "ws-member", got)
    admin.users.delete(**one, user_id=user)
    refused(404, "AB08", lambda: admin.users.retrieve(**one, user_id=user))

    refused(400, "AB01", lambda: admin.delete(**one, name="From a client"))
    admin.delete(**one, name="Renamed")
    refused(404, "AB08", lambda: admin.retrieve(**one))
    prove("workspaces: deletes it by its name", admin.list().total == listed.total)


def integrations(client: Portkey) -> None:
    slug, key = "clients-portkey", "sk-0123456789abcdef"
    total = client.integrations.list().total
    made = client.integrations.create(
        name="From a client", ai_provider_id="openai", slug=slug, key=key, description="New"
    )
    prove("integrations: creates one", made.slug == slug and bool(made.id), made)
    listed = client.integrations.list(page_size=100)
    here = slug in [integration.slug for integration in listed.data]
    prove("integrations: lists it", here and listed.total == total + 1, listed)
    page = client.integrations.list(current_page=1, page_size=2, type="organisation")
    prove("integrations: lists a page of a kind", len(page.data) == 2, page)
    got = client.integrations.retrieve(slug=slug)
    same = (got.id, got.name, got.description) == (made.id, "From a client", "New")
    prove("integrations: retrieves it", same and got.ai_provider_id == "openai", got)
    prove("integrations: its key comes back masked", bool(got.masked_key) and key not in str(got))

    client.integrations.update(slug=slug, name="Renamed")
    got = client.integrations.retrieve(slug=slug)
    prove("integrations: updates it", (got.name, got.description) == ("Renamed", "New"), got)

    enabled = models_of(client, slug)
    off = bool(enabled) and not any(enabled.values())
    prove("integrations: lists its models, all of them off", off, enabled)
    one = next(iter(enabled))
    client.integrations.models.update(
        slug=slug, allow_all_models=False, models=[{"slug": one, "enabled": True}]
    )
    enabled = models_of(client, slug)
    prove("integrations: enables a model", list(enabled.values()).count(True) == 1, enabled)
    got = client.integrations.retrieve(slug=slug)
    prove("integrations: closes it to new models", got.allow_all_models is False, got)

    access = client.integrations.workspaces.list(slug=slug)
    prove(
        "integrations: lists its workspaces", access.total == 0 and access.workspaces == [], access
    )
    client.integrations.workspaces.update(
        slug=slug, workspaces=[{"id": WORKSPACE, "enabled": True}]
    )
    lent = [provider.slug for provider in client.providers.list(workspace_id=WORKSPACE).data]
    prove("integrations: access gives the workspace a provider", slug in lent, lent)

    client.integrations.delete(slug=slug)
    refused(404, "AB08", lambda: client.integrations.retrieve(slug=slug))
    prove("integrations: deletes it", client.integrations.list().total == total)


def models_of(client: Portkey, slug: str) -> dict[str, bool]:
    listed = client.integrations.models.list(slug=slug)
    return {model.slug: model.enabled for model in listed.models}


def providers(client: Portkey) -> None:
    slug = "clients-provider"
    made = client.providers.create(
        name="From a client", integration_id="openai-production", workspace_id=WORKSPACE, slug=slug
    )
    prove("providers: creates one", made.slug == slug, made)
    listed = [provider.slug for provider in client.providers.list(workspace_id=WORKSPACE).data]
    prove("providers: lists it", slug in listed, listed)
    client.providers.update(slug=slug, workspace_id=WORKSPACE, name="Renamed", note="Noted")
    got = client.providers.retrieve(slug=slug, workspace_id=WORKSPACE)
    prove("providers: updates and retrieves it", (got.name, got.note) == ("Renamed", "Noted"), got)
    client.providers.delete(slug=slug, workspace_id=WORKSPACE)
    retrieve = client.providers.retrieve
    refused(404, "AB08", lambda: retrieve(slug=slug, workspace_id=WORKSPACE))
    prove("providers: deletes it", True)


def virtual_keys(client: Portkey) -> None:
    keys, key = client.virtual_keys, "sk-0123456789abcdef"
    made = keys.create(name="From a client", provider="openai", key=key, workspace_id=WORKSPACE)
    # The client expects the slug beside `success`; Portkey puts it below `data`.
    slug = made.data["slug"]
    prove("virtual keys: creates one", bool(slug), made)
    listed = [item["slug"] for item in keys.list(workspace_id=WORKSPACE).data]
    prove("virtual keys: lists it", slug in listed, listed)
    keys.update(slug=slug, name="Renamed", note="Noted")
    got = keys.retrieve(slug=slug)
    prove("virtual keys: updates and retrieves it", (got.name, got.note) == ("Renamed", "Noted"), got)
    prove("virtual keys: its key stays hidden", key not in str(got), got)
    keys.delete(slug=slug)
    refused(404, "AB08", lambda: keys.retrieve(slug=slug))
    prove("virtual keys: deletes it", True)


def configs(client: Portkey) -> None:
    cached, retried = {"cache": {"mode": "simple"}}, {"retry": {"attempts": 3}}
    made = client.configs.create(name="From a client", config=cached, workspace_id=WORKSPACE)
    # Below `data` too.
    id = made.data["id"]
    listed = client.configs.list(workspace_id=WORKSPACE).data
    slugs = [config["slug"] for config in listed if config["id"] == id]
    prove("configs: creates and lists one", len(slugs) == 1, listed)
    slug = slugs[0]
    got = client.configs.retrieve(slug=slug)
    prove("configs: retrieves it", json.loads(got.config) == cached, got)
    first = got.version_id
    # The client cannot list versions.
    client.configs.update(slug=slug, name="Renamed", config=retried)
    got = client.configs.retrieve(slug=slug)
    changed = (got.name, json.loads(got.config)) == ("Renamed", retried)
    prove("configs: updates it to a new version", changed and got.version_id != first, got)
    client.configs.delete(slug=slug)
    refused(404, "AB08", lambda: client.configs.retrieve(slug=slug))
    prove("configs: deletes it", True)


def prompts(client: Portkey) -> None:
    collection = client.collections.create(name="From a client", workspace_id=WORKSPACE).id
    made = client.prompts.create(
        name="From a client",
        collection_id=collection,
        string="Hello {{name}}",
        parameters={"temperature": 0},
        model="gpt-4o",
        virtual_key="openai-production",
    )
    slug = made.slug
    prove("prompts: creates one", bool(slug) and bool(made.id), made)
    listed = [p["slug"] for p in client.prompts.list(workspace_id=WORKSPACE).data]
    prove("prompts: lists it", slug in listed, listed)
    got = client.prompts.retrieve(slug)
    prove("prompts: retrieves it", (got.string, got.model) == ("Hello {{name}}", "gpt-4o"), got)

    # The client does not know `patch`, so a new version has to be given whole.
    client.prompts.update(
        slug,
        string="Dear {{name}}",
        parameters={"temperature": 1},
        model="gpt-4o",
        virtual_key="openai-production",
    )
    got = client.prompts.retrieve(slug)
    prove("prompts: an update publishes nothing", got.string == "Hello {{name}}", got)
    client.prompts.publish(slug, version=2)
    got = client.prompts.retrieve(slug)
    prove("prompts: publishes the new version", got.string == "Dear {{name}}", got)
    versions = client.prompts.versions.list(slug).data
    prove("prompts: lists both versions", len(versions) == 2, versions)
    rendered = client.prompts.render(prompt_id=slug, variables={"name": "Ada"})
    prove("prompts: renders it", "Dear Ada" in str(rendered), rendered)

    client.prompts.delete(slug)
    refused(404, "AB08", lambda: client.prompts.retrieve(slug))
    client.collections.delete(collection_id=collection)
    prove("prompts: deletes it", True)


def api_keys(client: Portkey) -> None:
    keys = client.api_keys
    made = keys.create(
        type="workspace",
        sub_type="service",
        name="From a client",
        workspace_id=WORKSPACE,
        scopes=["completions.write"],
        rate_limits=[{"type": "requests", "unit": "rpm", "value": 60}],
    )
    one = {"id": made.id}
    prove("api keys: creates one", bool(made.key), made.id)
    listed = keys.list(page_size=100, workspace_id=WORKSPACE).data
    mine = [item["name"] for item in listed if item["id"] == made.id]
    prove("api keys: lists it", mine == ["From a client"], listed)
    prove("api keys: shows its secret once", made.key not in str(listed) + str(keys.retrieve(**one)))
    # The client cannot rotate a key.
    keys.update(**one, name="Renamed", scopes=["logs.write"])
    got = keys.retrieve(**one)
    same = (got.name, got.scopes) == ("Renamed", ["logs.write"])
    prove("api keys: updates and retrieves it", same and got.rate_limits[0]["value"] == 60, got)
    keys.delete(**one)
    refused(404, "AB08", lambda: keys.retrieve(**one))
    prove("api keys: deletes it", True)


def mcp_integrations(client: Portkey) -> None:
    mcp, url = client.mcp_integrations, "https://mcp.example.com/clients"
    made = mcp.create(name="From a client", url=url, auth_type="none", transport="http")
    one = {"mcp_integration_id": made.id}
    prove("mcp integrations: creates one", bool(made.id), made)
    listed = [integration["id"] for integration in mcp.list(page_size=100).data]
    prove("mcp integrations: lists it", made.id in listed, listed)
    mcp.update(**one, description="Changed")
    got = mcp.retrieve(**one)
    prove(
        "mcp integrations: updates and retrieves it", (got.description, got.url) == ("Changed", url)
    )
    tested = mcp.test(**one)
    prove("mcp integrations: tests it", tested.success, tested)

    mcp.sync(
        **one,
        server_info={"name": "search", "version": "1.0"},
        capabilities=[{"name": "find", "type": "tool"}],
    )
    known = mcp.metadata.retrieve(**one)
    prove("mcp integrations: syncs what its server says", known.server_name == "search", known)
    mcp.capabilities.update(
        **one, capabilities=[{"name": "find", "type": "tool", "enabled": False}]
    )
    found = [(can["name"], can["enabled"]) for can in mcp.capabilities.list(**one).data]
    prove("mcp integrations: disables a capability", found == [("find", False)], found)

    mcp.workspaces.update(**one, workspaces=[{"id": WORKSPACE, "enabled": True}])
    rows = [(row["id"], row["enabled"]) for row in mcp.workspaces.list(**one).workspaces]
    workspace = client.admin.workspaces.retrieve(workspace_id=WORKSPACE)
    prove("mcp integrations: gives a workspace access", rows == [(workspace.id, True)], rows)
    mcp.delete(**one)
    refused(404, "AB08", lambda: mcp.retrieve(**one))
    prove("mcp integrations: deletes it", True)


def refusals(client: Portkey, admin: Portkey) -> None:
    create, retrieve = client.integrations.create, admin.providers.retrieve
    refused(400, "AB01", lambda: create(name="", ai_provider_id="openai"))
    prove("refusals: a wrong field is a 400", True)
    refused(403, "AB03", lambda: retrieve(slug="anthropic"))
    prove("refusals: an Admin key has to name a provider's workspace", True)
    refused(400, "no such endpoint in the sandbox", client.models.list)
    prove("refusals: what the sandbox lacks is said to be missing", True)


def refused(status: int, said: str, call: Callable[[], object]) -> None:
    """Makes a call that has to be refused. Two families of errors carry the status."""
    try:
        found = call()
    except Exception as error:
        if getattr(error, "status_code", None) != status or said not in str(error):
            raise
        return
    raise Unproven(f"this should have been refused with {status}; found {found!r}")


if __name__ == "__main__":
    try:
        main()
    except Exception as failure:
        finish(failure)

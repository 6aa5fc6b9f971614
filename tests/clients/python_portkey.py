"""Portkey's official Python client against the sandbox: what it holds for Portkey, it is."""

from collections.abc import Callable

from portkey_ai import Portkey

from harness import Unproven, finish, listening, prove

# The seeded workspace whose providers have no rate limits: the client reads those of lists as an
# object, while Portkey documents and sends an array.
WORKSPACE = "ws-shared"


def main() -> None:
    with listening("sandbox", "--listen", "127.0.0.1:0", "--log-level", "info") as url:
        client = Portkey(base_url=url, api_key="pk-any", max_retries=0)
        workspaces(client)
        integrations(client)
        providers(client)
        mcp_integrations(client)
        refusals(client)


def workspaces(client: Portkey) -> None:
    listed = client.admin.workspaces.list()
    slugs = [workspace["slug"] for workspace in listed.data]
    prove("workspaces: lists them", WORKSPACE in slugs and listed.total == len(slugs), slugs)
    got = client.admin.workspaces.retrieve(workspace_id=WORKSPACE)
    prove("workspaces: retrieves one", got.slug == WORKSPACE, got)


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
    prove("integrations: lists its models", bool(enabled) and all(enabled.values()), enabled)
    one = next(iter(enabled))
    client.integrations.models.update(
        slug=slug, allow_all_models=False, models=[{"slug": one, "enabled": False}]
    )
    enabled = models_of(client, slug)
    prove("integrations: disables a model", list(enabled.values()).count(False) == 1, enabled)
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
    prove("mcp integrations: gives a workspace access", rows == [(WORKSPACE, True)], rows)
    mcp.delete(**one)
    refused(404, "AB08", lambda: mcp.retrieve(**one))
    prove("mcp integrations: deletes it", True)


def refusals(client: Portkey) -> None:
    create, retrieve = client.integrations.create, client.providers.retrieve
    refused(400, "AB01", lambda: create(name="", ai_provider_id="openai"))
    prove("refusals: a wrong field is a 400", True)
    refused(403, "AB03", lambda: retrieve(slug="anthropic"))
    prove("refusals: a provider without its workspace is a 403", True)
    refused(400, "x-portkey-provider", client.models.list)
    prove("refusals: what the Admin API lacks is left to the gateway", True)


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

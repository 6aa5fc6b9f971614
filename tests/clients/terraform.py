"""The requests that Portkey's Terraform provider makes in a life of each of its resources, through the REST
face and to a sandbox of its own: both have to answer alike."""

import dataclasses
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator

import rest
from harness import PATIENCE, Unproven, listening, prove

WORKSPACE = "ws-shared"
TIME = re.compile(r"20\d\d-\d\d-\d\dT[\d:.]+Z")


@dataclasses.dataclass
class Step:
    """A request. Its path and body may name values that earlier answers had, as `{name}`."""

    method: str
    path: str
    body: dict | None = None
    # Fields of the answer to keep, by their path.
    keep: dict[str, str] = dataclasses.field(default_factory=dict)
    status: int = 200


def life(
    path: str, create: dict, update: dict, *, id: str = "id", one: str = "", more: list[Step] = (), gone: int = 404
) -> list[Step]:
    """Create, read, change, read and delete, as a plan, an apply and a destroy do. Then it is gone."""
    item = f"{path.partition('?')[0]}/{{id}}{one}"
    return [
        Step("POST", path, create, {"id": id}),
        Step("GET", item),
        Step("PUT", item, update),
        Step("GET", item),
        *more,
        Step("DELETE", item),
        Step("GET", item, status=gone),
    ]


STEPS = [
    # Data sources.
    Step("GET", "/admin/workspaces", keep={"workspace": "data.0.id"}),
    Step("GET", "/admin/users?pageSize=100&currentPage=0", keep={"user": "data.0.id"}),
    Step("GET", "/admin/users/{user}"),
    Step("GET", f"/configs?workspace_id={WORKSPACE}"),
    Step("GET", f"/prompts?workspace_id={WORKSPACE}"),
    Step("GET", "/integrations/openai-production/models"),
    Step("GET", "/secret-references?current_page=1&page_size=100"),
    # A workspace with a member. It is deleted with its name, in a body.
    Step(
        "POST",
        "/admin/workspaces",
        {"name": "tf-workspace", "description": "By Terraform", "defaults": {"metadata": {"team": "platform"}}},
        {"id": "id"},
    ),
    Step("GET", "/admin/workspaces/{id}"),
    Step("POST", "/admin/workspaces/{id}/users", {"users": [{"id": "{user}", "role": "member"}]}),
    Step("GET", "/admin/workspaces/{id}/users/{user}"),
    Step("PUT", "/admin/workspaces/{id}/users/{user}", {"role": "manager"}),
    Step("DELETE", "/admin/workspaces/{id}/users/{user}"),
    # Nulls clear limits.
    Step("PUT", "/admin/workspaces/{id}", {"name": "tf-renamed", "icon": "", "usage_limits": None, "rate_limits": None}),
    Step("GET", "/admin/workspaces/{id}"),
    Step("DELETE", "/admin/workspaces/{id}", {"name": "tf-renamed", "force_delete": True}),
    Step("GET", "/admin/workspaces/{id}", status=404),
    # An invitation cannot be changed.
    Step("POST", "/admin/users/invites", {"email": "tf@example.com", "role": "member"}, {"id": "id"}),
    Step("GET", "/admin/users/invites/{id}"),
    Step("DELETE", "/admin/users/invites/{id}"),
    *life(
        "/integrations",
        {"name": "tf-integration", "slug": "tf-integration", "ai_provider_id": "openai", "key": "sk-0123456789abcdef"},
        {"name": "tf-renamed", "description": "Changed"},
        id="slug",
        more=[
            Step(
                "PUT",
                "/integrations/{id}/workspaces",
                {"workspaces": [{"id": WORKSPACE, "enabled": True, "rate_limits": [{"type": "requests", "unit": "rpm", "value": 100}]}]},
            ),
            Step("GET", "/integrations/{id}/workspaces"),
            Step("PUT", "/integrations/{id}/models", {"models": [{"slug": "gpt-4o", "enabled": True}]}),
            Step("GET", "/integrations/{id}/models"),
            Step("PUT", "/integrations/{id}/workspaces", {"workspaces": [{"id": WORKSPACE, "enabled": False}]}),
        ],
    ),
    *life(
        "/providers",
        {"name": "tf-provider", "slug": "tf-provider", "workspace_id": WORKSPACE, "integration_id": "openai-production"},
        {"name": "tf-renamed", "workspace_id": WORKSPACE, "note": "Changed"},
        id="slug",
        one=f"?workspace_id={WORKSPACE}",
    ),
    *life(
        "/configs",
        {"name": "tf-config", "workspace_id": WORKSPACE, "config": {"retry": {"attempts": 3}, "cache": {"mode": "simple"}}},
        {"name": "tf-renamed", "config": {"retry": {"attempts": 5}}},
        id="data.slug",
    ),
    *life(
        "/collections",
        {"name": "tf-collection", "workspace_id": WORKSPACE},
        {"name": "tf-renamed"},
    ),
    Step("POST", "/collections", {"name": "tf-prompts", "workspace_id": WORKSPACE}, {"collection": "id"}),
    *life(
        "/prompts",
        {
            "name": "tf-prompt",
            "collection_id": "{collection}",
            "string": "Hello {{name}}",
            "parameters": {"temperature": 0.7, "max_tokens": 100},
            "model": "gpt-4o",
            "virtual_key": "openai-production",
        },
        {
            "string": "Dear {{name}}",
            "parameters": {"temperature": 0.2},
            "model": "gpt-4o",
            "virtual_key": "openai-production",
            "version_description": "Politer",
        },
        id="slug",
        more=[
            Step("GET", "/prompts/{id}/versions"),
            Step("PUT", "/prompts/{id}/makeDefault", {"version": 2}),
            Step("GET", "/prompts/{id}?version=latest"),
        ],
    ),
    Step("DELETE", "/collections/{collection}"),
    *life(
        "/prompts/partials",
        {"name": "tf-partial", "string": "Be brief", "workspace_id": WORKSPACE},
        {"string": "Be very brief", "version_description": "Briefer"},
        id="slug",
        more=[
            Step("GET", "/prompts/partials/{id}/versions"),
            Step("PUT", "/prompts/partials/{id}/makeDefault", {"version": 2}),
        ],
    ),
    *life(
        "/guardrails",
        {
            "name": "tf-guardrail",
            "workspace_id": WORKSPACE,
            "checks": [{"id": "default.wordCount", "parameters": {"minWords": 1, "maxWords": 500}}],
            "actions": {"deny": False, "async": True},
        },
        {"name": "tf-renamed"},
        id="slug",
        # The provider takes that for gone, too.
        gone=403,
    ),
    *life(
        "/policies/usage-limits",
        {
            "name": "tf-usage",
            "workspace_id": WORKSPACE,
            "conditions": [{"key": "api_key", "value": "*"}],
            "group_by": [{"key": "api_key"}],
            "type": "cost",
            "credit_limit": 100,
            "periodic_reset": "monthly",
        },
        {"credit_limit": 200, "alert_threshold": 150},
    ),
    *life(
        "/policies/rate-limits",
        {
            "name": "tf-rate",
            "workspace_id": WORKSPACE,
            "conditions": [{"key": "api_key", "value": "*"}],
            "group_by": [{"key": "api_key"}],
            "type": "requests",
            "unit": "rpm",
            "value": 100,
        },
        {"value": 50},
    ),
    *life(
        "/mcp-integrations",
        {"name": "tf-mcp", "url": "https://mcp.example.com/tf", "auth_type": "none", "transport": "http"},
        {"description": "Changed"},
        more=[
            Step("PUT", "/mcp-integrations/{id}/workspaces", {"workspaces": [{"id": WORKSPACE, "enabled": True}]}),
            Step("GET", "/mcp-integrations/{id}/workspaces"),
            Step("GET", "/mcp-integrations/{id}/capabilities"),
        ],
    ),
    *life(
        "/secret-references",
        {
            "name": "tf-secret",
            "slug": "tf-secret",
            "manager_type": "aws_sm",
            "auth_config": {"aws_auth_type": "assumedRole", "aws_role_arn": "arn:aws:iam::1:role/tf", "aws_region": "us-east-1"},
            "secret_path": "prod/openai",
            "allow_all_workspaces": True,
        },
        {"description": "Changed", "secret_key": None},
    ),
    # A key has its kind in the path, and its secret in the answer.
    Step(
        "POST",
        "/api-keys/workspace/service",
        {"name": "tf-key", "workspace_id": WORKSPACE, "scopes": ["completions.write"], "expires_at": "2030-01-01T00:00:00Z"},
        {"id": "id"},
    ),
    Step("GET", "/api-keys/{id}"),
    Step("PUT", "/api-keys/{id}", {"name": "tf-renamed", "usage_limits": None, "alert_emails": None, "expires_at": None}),
    Step("GET", f"/api-keys?workspace_id={WORKSPACE}"),
    Step("POST", "/api-keys/{id}/rotate", {"key_transition_period_ms": 1800000}),
    Step("DELETE", "/api-keys/{id}"),
    Step("GET", "/api-keys/{id}", status=404),
]


def replay(log: str) -> None:
    """Makes the requests through the face and directly, and compares the answers."""
    sandbox = listening("sandbox", "--listen", "127.0.0.1:0", "--log-level", "info")
    with sandbox as url, rest.face("--audit-log", log) as (face, key):
        pairs = zip(STEPS, answers(url, "pk-any"), answers(face, key), strict=True)
        for step, expected, got in pairs:
            what = f"terraform: {step.method} {step.path}"
            if expected[0] != step.status or got != expected:
                raise Unproven(f"{what}: found {got!r}, directly {expected!r}")
    prove(f"terraform: {len(STEPS)} requests have the same answers as directly", True)


def denied(url: str, key: str) -> None:
    """Makes the requests that delete."""
    for step in STEPS:
        if step.method != "DELETE":
            continue
        path = re.sub(r"\{\w+\}", "some-id", step.path)
        status, text = send(url + path, key, step.method, step.body)
        prove(f"terraform: is told why it is denied: DELETE {path}", status == 403 and rest.MESSAGE in text, text)


def answers(url: str, key: str) -> Iterator[tuple[int, object]]:
    """Makes the requests one after the other. Yields statuses and bodies."""
    kept: dict[str, str] = {}

    def fill(value: object) -> object:
        match value:
            case str():
                return re.sub(r"(?<!\{)\{(\w+)\}(?!\})", lambda found: kept[found[1]], value)
            case list():
                return [fill(item) for item in value]
            case dict():
                return {name: fill(item) for name, item in value.items()}
        return value

    for step in STEPS:
        status, text = send(url + fill(step.path), key, step.method, fill(step.body))
        # The two sandboxes did not start at the same moment.
        text = TIME.sub("<time>", text)
        body = json.loads(text) if text else None
        for name, path in step.keep.items() if status == 200 else ():
            value = body
            for piece in path.split("."):
                value = value[int(piece) if piece.isdigit() else piece]
            kept[name] = value
        yield status, body


def send(url: str, key: str, method: str, body: object = None) -> tuple[int, str]:
    """Makes a request as the provider does, which says that there is JSON in any case."""
    headers = {"content-type": "application/json", "x-portkey-api-key": key, "user-agent": "Go-http-client/1.1"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()

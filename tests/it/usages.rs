//! `find-usages`: its answers against an independent search of the sandbox's data, and what it says about
//! what it could not see.

use std::collections::BTreeSet;

use portkey_api::{
    catalog::Catalog,
    references::{
        IMPACT_KINDS, KINDS, RESTRICTIONS, ResourceKind, SOURCES, WITHOUT_IMPACT, row_of,
    },
};
use portkey_operation::Effect;
use portkey_sandbox::{DEFAULT_API_KEY, Faults, Sandbox};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    catalogs::default_catalog,
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
    requests::client as http_client,
};

/// A sandbox with a server in front of it.
struct Organisation {
    sandbox: Sandbox,
    client: ConnectedClient,
}

impl Organisation {
    async fn start(more: &[&str]) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let sandbox = Sandbox::start(listen, Faults::default()).await.unwrap();
        let url = sandbox.base_url();
        let mut args = vec!["--base-url", &*url, "--api-key", DEFAULT_API_KEY];
        args.extend(more);
        let client = connect_everywhere(&args, &[]).await.remove(0);
        Self { sandbox, client }
    }

    /// Sends a request to the sandbox, past the server.
    async fn send(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}{}", self.sandbox.base_url(), path);
        let mut request = http_client()
            .request(method, url)
            .header("x-portkey-api-key", DEFAULT_API_KEY);
        if !body.is_null() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, Value::Null).await
    }

    async fn rows(&self, path: &str, field: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        answer[field].as_array().unwrap().clone()
    }

    /// Adds dependants that the seed lacks.
    async fn add_dependants(&self) {
        let keys = self.rows("/api-keys", "data").await;
        let key = keys
            .iter()
            .find(|key| key["name"] == "Research notebooks")
            .unwrap();
        let key = key["id"].as_str().unwrap();
        let put = |path: String, body| async move { self.send(Method::PUT, &path, body).await };
        let post =
            |path: &'static str, body| async move { self.send(Method::POST, path, body).await };
        put(
            format!("/api-keys/{key}"),
            json!({ "defaults": { "config_id": "pc-trial-split" } }),
        )
        .await;
        put(
            "/configs/pc-trial-split".to_owned(),
            json!({ "config": { "input_guardrails": ["guard_plain-language"],
                "strategy": { "mode": "loadbalance" }, "targets": [
                    { "provider": "@claude-trials/claude-sonnet-4", "weight": 1 },
                    { "virtual_key": "cohere-trial", "weight": 1 },
                    { "prompt_id": "pp-refund-reply", "weight": 1 } ] } }),
        )
        .await;
        post(
            "/prompts/partials",
            json!({ "name": "Long Style", "workspace_id": "ws-support-bot",
                "string": "{{> pp-house-style}} And more." }),
        )
        .await;
        let limits = |name: &str, key: &str, value: Value| {
            json!({ "name": name, "workspace_id": "ws-research", "type": "requests", "unit": "rpm",
                "value": 5, "group_by": [{ "key": "model" }], "conditions": [{ "key": key, "value": value }] })
        };
        post(
            "/policies/rate-limits",
            limits("By key", "api_key", json!(key)),
        )
        .await;
        post(
            "/policies/rate-limits",
            limits(
                "By provider",
                "virtual_key",
                json!(["claude-trials", "gemini"]),
            ),
        )
        .await;
        post(
            "/policies/rate-limits",
            limits("By config", "config", json!("pc-trial-split")),
        )
        .await;
        put(
            "/admin/workspaces/ws-support-bot".to_owned(),
            json!({ "defaults": { "input_guardrails": ["guard_personal-data"],
                "user_api_key_config": "pc-cached-answers" } }),
        )
        .await;
        post(
            "/virtual-keys",
            json!({ "name": "From vault", "provider": "openai", "workspace_id": "ws-research",
                "secret_mappings": [{ "target_field": "key", "secret_reference_id": "research-providers" }] }),
        )
        .await;
        put(
            "/mcp-integrations/issue-tracker".to_owned(),
            json!({ "secret_mappings": [{ "target_field": "configurations.custom_headers.authorization",
                "secret_reference_id": "support-mailbox" }] }),
        )
        .await;
    }

    /// Reads every document in which a reference may stand, with its kind.
    async fn documents(&self) -> Vec<Document> {
        let mut all = Vec::new();
        for (kind, list, detail, more) in [
            (
                "workspace",
                "/admin/workspaces",
                "/admin/workspaces/{id}",
                None,
            ),
            (
                "integration",
                "/integrations",
                "/integrations/{slug}",
                Some("/integrations/{slug}/workspaces"),
            ),
            ("virtual_key", "/virtual-keys", "/virtual-keys/{slug}", None),
            ("config", "/configs", "/configs/{slug}", None),
            ("prompt", "/prompts", "/prompts/{id}", None),
            (
                "partial",
                "/prompts/partials",
                "/prompts/partials/{id}",
                None,
            ),
            (
                "guardrail",
                "/guardrails",
                "/guardrails/{id}",
                Some("/guardrails/{id}/mcp-servers"),
            ),
            ("api_key", "/api-keys", "/api-keys/{id}", None),
            (
                "mcp_integration",
                "/mcp-integrations",
                "/mcp-integrations/{id}",
                Some("/mcp-integrations/{id}/workspaces"),
            ),
            ("mcp_server", "/mcp-servers", "/mcp-servers/{id}", None),
            (
                "secret_reference",
                "/secret-references",
                "/secret-references/{id}",
                None,
            ),
            (
                "usage_limits_policy",
                "/policies/usage-limits",
                "/policies/usage-limits/{id}",
                None,
            ),
            (
                "rate_limits_policy",
                "/policies/rate-limits",
                "/policies/rate-limits/{id}",
                None,
            ),
        ] {
            for row in self.rows(list, "data").await {
                let path = |pattern: &str| {
                    let part = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                    pattern
                        .replace("{id}", &part("id"))
                        .replace("{slug}", &part("slug"))
                };
                // Providers are virtual keys of an integration.
                let is_provider = kind == "virtual_key" && !row["integration_id"].is_null();
                let mut content = vec![row.clone()];
                if !is_provider {
                    content.push(self.get(&path(detail)).await);
                }
                if let Some(more) = more {
                    content.push(self.get(&path(more)).await);
                }
                all.push(Document {
                    kind: if is_provider { "provider" } else { kind },
                    id: row["id"].as_str().unwrap_or_default().to_owned(),
                    slug: row["slug"].as_str().map(str::to_owned),
                    content: content.into(),
                });
            }
        }
        let url = format!(
            "{}/deployments",
            self.sandbox.base_url().replace("/v1", "/v2")
        );
        let deployments = http_client()
            .get(url)
            .header("x-portkey-api-key", DEFAULT_API_KEY)
            .send()
            .await
            .unwrap();
        let deployments: Value = serde_json::from_str(&deployments.text().await.unwrap()).unwrap();
        for row in deployments["data"].as_array().unwrap() {
            all.push(Document {
                kind: "deployment",
                id: row["id"].as_str().unwrap().to_owned(),
                slug: row["slug"].as_str().map(str::to_owned),
                content: row.clone(),
            });
        }
        let url = format!(
            "{}/admin/organisation/defaults",
            self.sandbox.base_url().replace("/v1", "/v2")
        );
        let defaults = http_client()
            .get(url)
            .header("x-portkey-api-key", DEFAULT_API_KEY)
            .send()
            .await
            .unwrap();
        all.push(Document {
            kind: "organisation",
            id: "organisation".to_owned(),
            slug: None,
            content: serde_json::from_str(&defaults.text().await.unwrap()).unwrap(),
        });
        all
    }
}

/// Everything that the sandbox says about one resource.
struct Document {
    kind: &'static str,
    id: String,
    slug: Option<String>,
    content: Value,
}

impl Document {
    fn handle(&self) -> &str {
        self.slug.as_deref().unwrap_or(&self.id)
    }

    /// Returns true if this document mentions another resource, wherever that may be.
    fn mentions(&self, target: &Document) -> bool {
        let mut is_found = false;
        visit("", &self.content, &mut |field, text| {
            is_found |= target.is_meant_by(field, text);
        });
        is_found
    }

    /// Returns true if a text in a field of this name means this resource.
    fn is_meant_by(&self, field: &str, text: &str) -> bool {
        let kinds: &[&str] = match field {
            // Slugs of two kinds may be the same.
            "slug" => return false,
            // The vendor of a virtual key.
            "ai_provider_id" | "owner_id" | "name" | "id"
                if text == self.handle() && field != "id" =>
            {
                &[]
            }
            "integration_id" => &["integration"],
            "provider" if !text.starts_with('@') => &[],
            "virtual_key" | "provider" => &["provider", "virtual_key", "integration"],
            _ => &[],
        };
        let is_restricted = [
            "integration_id",
            "virtual_key",
            "provider",
            "ai_provider_id",
            "name",
        ]
        .contains(&field);
        if is_restricted && !kinds.contains(&self.kind) {
            return false;
        }
        let template = |slug: &str| text.replace(' ', "").contains(&format!("{{{{>{slug}}}}}"));
        let named = text.trim_start_matches('@');
        let named = named.split('/').next().unwrap_or_default();
        let is_this = |handle: &str| named == handle || self.kind == "partial" && template(handle);
        is_this(&self.id) || self.slug.as_deref().is_some_and(is_this)
    }
}

/// Visits all texts and names of fields below a value. What is switched off is no reference.
fn visit(field: &str, value: &Value, see: &mut impl FnMut(&str, &str)) {
    match value {
        Value::Object(fields) if fields.get("enabled") == Some(&json!(false)) => {}
        Value::Object(fields) => {
            // A condition is about what its key says.
            let key = fields.get("key").and_then(Value::as_str);
            for (name, inner) in fields {
                see("", name);
                let name = match name.as_str() {
                    "value" => key.unwrap_or("value"),
                    name => name,
                };
                visit(name, inner, see);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| visit(field, item, see)),
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner) if inner.is_object() || inner.is_array() => visit(field, &inner, see),
            _ => see(field, text),
        },
        _ => {}
    }
}

/// Returns the users that an answer names, by kind.
fn named_users(answer: &Value) -> BTreeSet<(String, String)> {
    let groups = answer["used_by"].as_array().unwrap();
    let named = groups.iter().flat_map(|group| {
        let kind = group["kind"].as_str().unwrap();
        let users = group["first"].as_array().unwrap();
        users
            .iter()
            .map(move |user| (kind.to_owned(), user["id"].as_str().unwrap().to_owned()))
    });
    named.collect()
}

#[test]
fn tables_name_operations_and_arguments() {
    let catalog = default_catalog();
    let takes = |operation: &str, argument: &str| {
        let entry = catalog.find(operation).unwrap();
        let schema = entry.compiled().full_schema();
        assert!(
            schema["properties"].get(argument).is_some(),
            "{operation} takes no {argument}"
        );
    };
    for row in KINDS.iter().chain(IMPACT_KINDS) {
        if row.listed_in.is_none() {
            takes(row.read, row.argument);
        }
        if row.is_in_workspace {
            takes(row.read, "workspace_id");
        }
        if let Some(filter) = row.traffic {
            takes("get-requests-graph", filter.argument);
        }
    }
    for source in SOURCES {
        assert!(catalog.find(source.list).is_ok(), "{}", source.list);
        for read in source
            .references
            .iter()
            .filter_map(|reference| reference.read)
        {
            takes(read.operation, read.argument);
        }
    }
    for restriction in RESTRICTIONS {
        takes(restriction.operation, restriction.argument);
        assert!(
            row_of(restriction.kind).is_some(),
            "{}",
            restriction.operation
        );
    }
}

/// Each write that takes something away shows what depends on it, or says why it does not.
#[test]
fn every_destructive_operation_has_an_impact_or_a_reason_why_not() {
    let catalog = Catalog::full();
    let mut without = Vec::new();
    for operation in Catalog::operations() {
        let is_destructive = operation.effect() == Effect::Delete || operation.hints().destructive;
        let name = operation.name();
        let has_impact = RESTRICTIONS.iter().any(|row| row.operation == name);
        let has_reason = WITHOUT_IMPACT.iter().any(|(other, _)| *other == name);
        assert!(!(has_impact && has_reason), "{name} is in both tables");
        if is_destructive && !has_impact && !has_reason {
            without.push(name);
        }
    }
    assert!(without.is_empty(), "no impact and no reason: {without:?}");
    for (name, reason) in WITHOUT_IMPACT {
        assert!(catalog.find(name).is_ok() && !reason.is_empty(), "{name}");
    }
}

/// A write that takes something away, and what its dry run has to say.
struct ExpectedImpact {
    tool: &'static str,
    args: Value,
    /// Beginning of the summary.
    summary: &'static str,
    /// Something that is named.
    named: &'static str,
}

#[tokio::test]
async fn impact_is_shown_before_what_is_used_or_serves_is_taken_away() {
    let organisation = Organisation::start(&["--dry-run"]).await;
    let id_of = async |path: &str, rows: &str, field: &str, value: &str| -> String {
        let rows = organisation.rows(path, rows).await;
        let row = rows.iter().find(|row| row[field] == value).unwrap();
        row["id"].as_str().unwrap().to_owned()
    };
    let label = id_of("/labels", "data", "name", "production").await;
    let prompt = organisation.get("/prompts/pp-refund-reply").await;
    let version = prompt["prompt_version_id"].as_str().unwrap();
    let path = format!("/prompts/pp-refund-reply/versions/{version}");
    organisation
        .send(Method::PUT, &path, json!({ "label_id": label }))
        .await;
    let lead = id_of("/admin/users", "data", "email", "research-lead@example.com").await;
    let scopes = json!(["completions.write"]);
    let key = json!({ "name": "Of the lead", "workspace_id": "ws-research", "user_id": lead, "scopes": scopes });
    organisation
        .send(Method::POST, "/api-keys/workspace/user", key)
        .await;
    let collection = id_of("/collections", "data", "slug", "co-customers").await;
    let child = prompt["collection_id"].as_str().unwrap();
    let deployments = organisation
        .client
        .call("list-deployments", json!({}))
        .await
        .unwrap();
    let deployments = deployments["data"].as_array().unwrap();
    let deployment = deployments
        .iter()
        .find(|row| row["slug"] == "eu-production");
    let deployment = &deployment.unwrap()["id"];
    let policies = organisation
        .rows("/policies/usage-limits?workspace_id=ws-research", "data")
        .await;
    let policy = policies[0]["id"].as_str().unwrap();
    let rate = json!({ "name": "R", "workspace_id": "ws-research", "type": "requests", "unit": "rpm", "value": 5,
        "conditions": [{ "key": "workspace_id", "value": "ws-research" }],
        "group_by": [{ "key": "api_key" }] });
    let rate = organisation
        .send(Method::POST, "/policies/rate-limits", rate)
        .await;
    let mapping = id_of(
        "/scim/workspaces",
        "mappings",
        "scim_group",
        "Support Agents",
    )
    .await;
    for case in [
        ExpectedImpact {
            tool: "delete-collection",
            args: json!({ "collection_id": child, "cascade": true }),
            summary: "1 prompt",
            named: "pp-refund-reply",
        },
        ExpectedImpact {
            tool: "delete-collection",
            args: json!({ "collection_id": collection, "cascade": true }),
            summary: "1 collection",
            named: "Replies",
        },
        ExpectedImpact {
            tool: "delete-label",
            args: json!({ "label_id": label }),
            summary: "1 prompt",
            named: "items[0].label_id",
        },
        ExpectedImpact {
            tool: "remove-user",
            args: json!({ "user_id": lead }),
            summary: "2 workspaces, 1 API key",
            named: "ws-research",
        },
        ExpectedImpact {
            tool: "remove-workspace-member",
            args: json!({ "workspace_id": "ws-research", "user_id": lead }),
            summary: "1 API key",
            named: "Of the lead",
        },
        ExpectedImpact {
            tool: "delete-deployment",
            args: json!({ "deployment_id": deployment }),
            summary: "2 workspaces",
            named: "ws-shared",
        },
        ExpectedImpact {
            tool: "update-deployment",
            args: json!({ "deployment_id": deployment, "status": "archived" }),
            summary: "2 workspaces",
            named: "ws-shared",
        },
        ExpectedImpact {
            tool: "delete-usage-limits-policy",
            args: json!({ "policy_usage_limits_id": policy }),
            summary: "1 workspace, 3 counted groups",
            named: "metadata.project:evaluation",
        },
        ExpectedImpact {
            tool: "delete-rate-limits-policy",
            args: json!({ "rate_limits_policy_id": rate["id"] }),
            summary: "1 workspace",
            named: "conditions[0].value",
        },
        ExpectedImpact {
            tool: "delete-scim-workspace-mapping",
            args: json!({ "scim_workspace_group_id": mapping }),
            summary: "1 workspace",
            named: "members of the group `Support Agents` have the role `member` by it",
        },
        ExpectedImpact {
            tool: "update-prompt-partial",
            args: json!({ "prompt_partial_id": "pp-house-style", "status": "archived" }),
            summary: "1 prompt",
            named: "pp-refund-reply",
        },
    ] {
        let report = organisation
            .client
            .call(case.tool, case.args.clone())
            .await
            .unwrap();
        let impact = &report["impact"];
        let summary = impact["summary"].as_str().unwrap_or_default();
        assert!(summary.starts_with(case.summary), "{}: {report}", case.tool);
        assert!(
            impact.to_string().contains(case.named),
            "{}: {impact}",
            case.tool
        );
        assert_eq!(impact.get("not_seen"), None, "{}: {impact}", case.tool);
    }
    // What is not there has no impact that would be claimed.
    let missing = json!({ "scim_workspace_group_id": "0a5d0000-0000-4000-8000-000000000000" });
    let report = organisation
        .client
        .call("delete-scim-workspace-mapping", missing)
        .await
        .unwrap();
    assert!(report["impact"]["not_seen"].is_array(), "{report}");
    assert_eq!(ResourceKind::Member.noun(2), "workspace members");
}

/// Everything that a search of all texts finds is found by the table, and nothing else.
#[tokio::test]
async fn usages_are_those_of_an_independent_search() {
    let organisation = Organisation::start(&[]).await;
    organisation.add_dependants().await;
    let documents = organisation.documents().await;
    let mut found_kinds = BTreeSet::new();
    for target in &documents {
        if !KINDS.iter().any(|row| row.kind.as_str() == target.kind) {
            continue;
        }
        let users = documents.iter().filter(|user| user.id != target.id);
        let mut expected: BTreeSet<_> = users
            .filter(|user| user.mentions(target))
            .map(|user| (user.kind.to_owned(), user.handle().to_owned()))
            .collect();
        if target.kind == "integration" {
            // A reference to one of its providers is a use of it.
            let providers = documents
                .iter()
                .filter(|other| other.kind == "provider" && other.mentions(target));
            for provider in providers {
                let users = documents
                    .iter()
                    .filter(|user| ["config", "prompt", "rate_limits_policy"].contains(&user.kind));
                expected.extend(
                    users
                        .filter(|user| user.mentions(provider))
                        .map(|user| (user.kind.to_owned(), user.handle().to_owned())),
                );
            }
        }
        if ["integration", "mcp_integration"].contains(&target.kind) {
            // The grants stand in the document of the target.
            let workspaces = documents.iter().filter(|other| other.kind == "workspace");
            expected.extend(
                workspaces
                    .filter(|workspace| target.mentions(workspace))
                    .map(|workspace| ("workspace".to_owned(), workspace.handle().to_owned())),
            );
        }
        let args = json!({ "kind": target.kind, "id": target.handle(), "limit": 20 });
        let answer = organisation.client.call("find-usages", args).await.unwrap();
        let mut found = named_users(&answer);
        if target.kind == "workspace" {
            // No document of a partial says its workspace.
            found.retain(|(kind, _)| kind != "partial");
        }
        assert_eq!(
            found,
            expected,
            "{} {}: {answer}",
            target.kind,
            target.handle()
        );
        assert!(answer.get("not_seen").is_none(), "{answer}");
        if !found.is_empty() {
            found_kinds.insert(target.kind);
        }
    }
    let all: BTreeSet<_> = KINDS.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(found_kinds, all, "a kind has no dependants here");
}

#[tokio::test]
async fn traffic_is_that_of_the_groups_of_analytics() {
    let organisation = Organisation::start(&[]).await;
    let client = &organisation.client;
    let times = json!({ "group_by": "api_key", "time_of_generation_min": "30d",
        "time_of_generation_max": "now" });
    let groups = client
        .call("get-analytics-grouped-data", times)
        .await
        .unwrap();
    for group in groups["data"].as_array().unwrap() {
        let Some(key) = group["api_key"].as_str() else {
            continue;
        };
        if client
            .call("get-api-key", json!({ "id": key }))
            .await
            .is_err()
        {
            continue;
        }
        let args = json!({ "kind": "api_key", "id": key });
        let answer = client.call("find-usages", args).await.unwrap();
        assert_eq!(answer["requests_30d"], group["requests"], "{answer}");
    }
}

/// Who uses an integration took 27 calls and 14.7 kB without this tool.
#[tokio::test]
async fn usages_of_an_integration_take_one_short_answer() {
    let organisation = Organisation::start(&[]).await;
    for (kind, id) in [
        ("integration", "openai-production"),
        ("workspace", "ws-support-bot"),
        ("guardrail", "guard_plain-language"),
    ] {
        let args = json!({ "kind": kind, "id": id });
        let answer = organisation.client.call("find-usages", args).await.unwrap();
        let size = answer.to_string().len();
        assert!(size <= 1_500, "{kind}: {size} bytes");
        assert!(answer["calls"].as_u64().unwrap() <= 40, "{answer}");
    }
    let args = json!({ "kind": "integration", "id": "openai-production" });
    let answer = organisation.client.call("find-usages", args).await.unwrap();
    let summary = answer["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("3 workspaces, 3 providers, 1 config, 1 prompt, "),
        "{summary}"
    );
    assert!(summary.ends_with(" requests in 30 days"), "{summary}");
    // A provider has the same slug in each workspace.
    let groups = answer["used_by"].as_array().unwrap();
    let providers = groups.iter().find(|group| group["kind"] == "provider");
    let rows = providers.unwrap()["first"].as_array().unwrap();
    let workspaces: BTreeSet<_> = rows.iter().map(|row| row["workspace"].as_str()).collect();
    assert_eq!(workspaces.len(), 3, "{answer}");
    assert!(!workspaces.contains(&None), "{answer}");
}

/// A case of something that the caller cannot see.
struct UnseenCase {
    policy: &'static str,
    /// Texts of `not_seen`.
    expected: &'static str,
    summary: &'static str,
}

#[tokio::test]
async fn what_cannot_be_seen_is_said() {
    let cases = [
        UnseenCase {
            policy: "rules: [{ name: closed, action: deny, match: { tools: [list-all-configs] } }]",
            expected: "`list-all-configs`: ",
            summary: "at least 3 workspaces, 3 providers, 1 prompt, ",
        },
        UnseenCase {
            policy: "rules: [{ name: asks, action: approve, match: { tools: [get-prompt] } }]",
            expected: "`get-prompt`: ",
            summary: "at least 3 workspaces, 3 providers, 1 config, ",
        },
        UnseenCase {
            policy: "rules: [{ name: dry, action: dry_run, match: { tools: [get-config] } }]",
            expected: "`get-config`, 3 times: a policy wants a dry run",
            summary: "at least 3 workspaces, 3 providers, 1 prompt, ",
        },
        UnseenCase {
            policy: "tools: { list-all-providers: { rules: [{ name: r, redact: ['data[].integration_id'] }] } }",
            expected: "`list-all-providers`: a policy redacts `data[].integration_id`, so that usages may be missing",
            summary: "at least 3 workspaces; not everything could be seen",
        },
    ];
    for case in cases {
        let policy = PolicyFile::with(&format!("version: \"1\"\n{}\n", case.policy));
        let organisation = Organisation::start(&["--policy", policy.path()]).await;
        let args = json!({ "kind": "integration", "id": "openai-production" });
        let answer = organisation.client.call("find-usages", args).await.unwrap();
        let unseen = answer["not_seen"].to_string();
        assert!(unseen.contains(case.expected), "{}: {answer}", case.policy);
        let summary = answer["summary"].as_str().unwrap();
        assert!(
            summary.starts_with(case.summary),
            "{}: {answer}",
            case.policy
        );
        assert!(!answer.to_string().contains("redacted"), "{answer}");
    }
}

#[tokio::test]
async fn key_of_a_workspace_sees_its_part_and_says_so() {
    let listen = "127.0.0.1:0".parse().unwrap();
    let sandbox = Sandbox::start(listen, Faults::default()).await.unwrap();
    let url = sandbox.base_url();
    let args = [
        "--base-url",
        &*url,
        "--api-key",
        "sandbox-workspace-ws-support-bot",
    ];
    let client = connect_everywhere(&args, &[]).await.remove(0);
    let args = json!({ "kind": "guardrail", "id": "guard_plain-language" });
    let answer = client.call("find-usages", args).await.unwrap();
    let unseen = answer["not_seen"].to_string();
    assert!(
        unseen.contains("`get-organisation-defaults`: refused with 403"),
        "{answer}"
    );
}

#[tokio::test]
async fn unknown_resource_is_an_error() {
    let organisation = Organisation::start(&[]).await;
    let args = json!({ "kind": "config", "id": "pc-none" });
    let error = organisation
        .client
        .call("find-usages", args)
        .await
        .unwrap_err();
    assert!(error.contains("there is no config `pc-none`"), "{error}");
}

/// Portkey answers 403 for some kinds that are not there, and no id has a slash.
#[tokio::test]
async fn target_that_is_not_there_is_an_error_for_every_kind() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    for kind in KINDS {
        let noun = kind.kind.noun(1);
        for id in ["nobody-has-this", "a/b"] {
            let args = json!({ "kind": kind.kind.as_str(), "id": id });
            let error = client.call("find-usages", args).await.unwrap_err();
            assert!(
                error.contains(&format!("there is no {noun} `{id}`")),
                "{error}"
            );
        }
    }
    for workspace in ["ws-none", "a/b"] {
        let args = json!({ "kind": "config", "id": "pc-trial-split", "workspace_id": workspace });
        let error = client.call("find-usages", args).await.unwrap_err();
        assert!(
            error.contains(&format!(
                "`workspace_id`: there is no workspace `{workspace}`"
            )),
            "{error}"
        );
    }
}

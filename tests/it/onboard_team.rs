//! `onboard-team`: the plan, and the state that it leaves in the sandbox.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
    process::command,
};

const TEAM: &str = "Fraud Detection";

fn specification() -> Value {
    json!({
        "workspace": TEAM,
        "members": [
            { "user": "Research-Lead@example.com", "role": "admin" },
            { "user": "finance-reader@example.com" },
            { "user": "first-hire@example.com", "role": "manager" },
        ],
        "integrations": [
            { "slug": "openai-production", "models": ["gpt-4o", "o3-mini"], "provider_slug": "openai",
                "usage_limits": [{ "type": "cost", "credit_limit": 100, "alert_threshold": 80,
                    "periodic_reset": "monthly" }] },
            { "slug": "anthropic" },
        ],
        "usage_limits": [{ "type": "cost", "credit_limit": 300, "alert_threshold": 250 }],
        "key": { "name": "Fraud production", "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 60 }] },
    })
}

async fn call(client: &ConnectedClient, tool: &'static str, args: Value) -> Value {
    client.call(tool, args).await.unwrap()
}

async fn rows(client: &ConnectedClient, tool: &'static str, args: Value) -> Vec<Value> {
    let answer = call(client, tool, args).await;
    let rows = answer.get("data").or_else(|| answer.get("workspaces"));
    rows.unwrap().as_array().unwrap().clone()
}

async fn teams(client: &ConnectedClient) -> Vec<Value> {
    rows(client, "list-all-workspaces", json!({ "exact_name": TEAM })).await
}

fn tools_of(plan: &Value) -> Vec<&str> {
    let steps = plan["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| step["tool"].as_str().unwrap())
        .collect()
}

/// Returns values of a field, sorted.
fn values<'a>(rows: &'a [Value], field: &str) -> Vec<&'a str> {
    let mut values: Vec<_> = rows
        .iter()
        .map(|row| row[field].as_str().unwrap())
        .collect();
    values.sort_unstable();
    values
}

#[tokio::test]
async fn applied_plan_makes_the_team_and_is_empty_the_second_time() {
    for client in connect_everywhere(&["--sandbox"], &[]).await {
        let way = client.way;
        let plan = call(&client, "onboard-team", specification()).await;
        assert_eq!(
            tools_of(&plan),
            [
                "create-workspace",
                "invite-user",
                "add-workspace-member",
                "bulk-update-integration-models",
                "bulk-update-integration-workspaces",
                "bulk-update-integration-workspaces",
                "create-api-key",
            ],
            "{way}: {plan}"
        );
        assert!(teams(&client).await.is_empty(), "{way}: nothing is sent");

        let applied = call(&client, "apply-plan", json!({ "plan": plan["plan"] })).await;
        assert_eq!(applied["status"], "applied", "{way}: {applied}");

        let team = teams(&client).await.remove(0);
        assert_eq!(team["usage_limits"][0]["credit_limit"], 300, "{way}");
        let here = json!({ "workspace_id": team["id"] });
        let members = rows(&client, "list-workspace-members", here.clone()).await;
        let roles: Vec<_> = members
            .iter()
            .map(|member| {
                (
                    member["email"].as_str().unwrap(),
                    member["role"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            roles,
            [
                ("research-lead@example.com", "admin"),
                ("finance-reader@example.com", "member")
            ],
            "{way}"
        );
        let invites = rows(
            &client,
            "list-all-invites",
            json!({ "email": "first-hire@example.com", "status": "pending" }),
        )
        .await;
        assert_eq!(invites.len(), 1, "{way}");

        // The grants have made a provider each, and no step has made a second one.
        let providers = rows(&client, "list-all-providers", here.clone()).await;
        assert_eq!(values(&providers, "slug"), ["anthropic", "openai"], "{way}");
        let granted = rows(
            &client,
            "list-integration-workspaces",
            json!({ "slug": "openai-production" }),
        )
        .await;
        let row = granted
            .iter()
            .find(|row| row["id"] == team["slug"])
            .unwrap();
        assert_eq!(
            (&row["enabled"], &row["usage_limits"][0]["credit_limit"]),
            (&json!(true), &json!(100)),
            "{way}"
        );
        let models = call(
            &client,
            "list-integration-models",
            json!({ "slug": "openai-production" }),
        )
        .await;
        let models = models["models"].as_array().unwrap();
        let enabled = models.iter().find(|model| model["slug"] == "o3-mini");
        assert_eq!(enabled.unwrap()["enabled"], true, "{way}");
        let keys = rows(&client, "list-all-api-keys", here).await;
        assert_eq!(values(&keys, "name"), ["Fraud production"], "{way}");
        assert_eq!(keys[0]["scopes"], json!(["completions.write"]), "{way}");

        let again = call(&client, "onboard-team", specification()).await;
        assert_eq!(
            (&again["steps"], &again["note"]),
            (&json!([]), &json!("nothing to change")),
            "{way}: {again}"
        );
        client.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn existing_team_gets_only_what_differs() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let specification = json!({
        "workspace": "Research",
        "members": [{ "user": "research-lead@example.com", "role": "admin" },
            { "user": "finance-reader@example.com", "role": "manager" }],
        "integrations": [
            { "slug": "openai-production", "usage_limits": [{ "type": "cost", "credit_limit": 250,
                "alert_threshold": 150, "periodic_reset": "monthly" }] },
            { "slug": "bedrock-research" },
            { "slug": "azure-eu" },
        ],
        "key": { "name": "Evaluation runs" },
    });
    let plan = call(&client, "onboard-team", specification.clone()).await;
    assert_eq!(plan["workspace"]["exists"], true, "{plan}");
    let changed: Vec<_> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["id"].as_str().unwrap(), step["tool"].as_str().unwrap()))
        .collect();
    assert_eq!(
        changed,
        [
            ("role2", "update-workspace-member"),
            ("access1", "bulk-update-integration-workspaces"),
            ("access3", "bulk-update-integration-workspaces"),
        ],
        "{plan}"
    );
    assert_eq!(
        plan["steps"][0]["changes"],
        json!([{ "path": "role", "from": "member", "to": "manager" }]),
        "{plan}"
    );
    assert_eq!(
        plan["steps"][1]["changes"][0],
        json!({ "path": "workspaces[id=ws-research].usage_limits[0].credit_limit", "from": 200, "to": 250 }),
        "{plan}"
    );
    let applied = call(&client, "apply-plan", json!({ "plan": plan["plan"] })).await;
    assert_eq!(applied["status"], "applied", "{applied}");
    let providers = rows(
        &client,
        "list-all-providers",
        json!({ "workspace_id": "ws-research" }),
    )
    .await;
    let of = |slug: &str| {
        providers
            .iter()
            .filter(|provider| provider["integration_id"] == slug)
            .count()
    };
    assert_eq!(
        [
            of("openai-production"),
            of("bedrock-research"),
            of("azure-eu")
        ],
        [1, 1, 1],
        "{providers:?}"
    );
    let again = call(&client, "onboard-team", specification.clone()).await;
    assert_eq!(again["steps"], json!([]), "{again}");

    let azure = providers
        .iter()
        .find(|provider| provider["integration_id"] == "azure-eu")
        .unwrap();
    let removed = json!({ "slug": azure["slug"], "workspace_id": "ws-research" });
    call(&client, "delete-provider", removed).await;
    let without_provider = call(&client, "onboard-team", specification).await;
    assert_eq!(
        tools_of(&without_provider),
        ["create-provider"],
        "{without_provider}"
    );
}

/// Paths of the values that a step of a plan would change. What is stored as null may be left out.
fn paths_of(step: &Value) -> Vec<&str> {
    let changes = step["changes"].as_array().unwrap();
    let is_change = |change: &&Value| change.get("to").is_some() || !change["from"].is_null();
    let changes = changes.iter().filter(is_change);
    changes
        .map(|change| change["path"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn parts_of_a_limit_that_are_not_named_stay() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let specification = json!({
        "workspace": "ws-research",
        "usage_limits": [{ "type": "cost", "credit_limit": 450 }],
        "integrations": [{ "slug": "openai-production", "usage_limits": [{ "credit_limit": 250 }],
            "rate_limits": [{ "type": "requests", "unit": "rpd", "value": 9000 }] }],
        "key": { "name": "Evaluation runs", "usage_limits": { "credit_limit": 170 } },
    });
    let plan = call(&client, "onboard-team", specification.clone()).await;
    let steps = plan["steps"].as_array().unwrap();
    assert_eq!(
        paths_of(&steps[0]),
        ["usage_limits[0].credit_limit"],
        "{plan}"
    );
    let of_access = "workspaces[id=ws-research].usage_limits[0].credit_limit";
    assert!(paths_of(&steps[1]).contains(&of_access), "{plan}");
    let dropped = ["alert_threshold", "periodic_reset"];
    for step in steps {
        let lost = paths_of(step);
        let lost: Vec<_> = lost
            .iter()
            .filter(|path| dropped.iter().any(|part| path.contains(part)))
            .collect();
        assert!(lost.is_empty(), "{plan}");
    }
    let applied = call(&client, "apply-plan", json!({ "plan": plan["plan"] })).await;
    assert_eq!(applied["status"], "applied", "{applied}");
    let workspace = call(
        &client,
        "get-workspace",
        json!({ "workspace_id": "ws-research" }),
    )
    .await;
    let limit = &workspace["usage_limits"][0];
    assert_eq!(
        (
            &limit["credit_limit"],
            &limit["alert_threshold"],
            &limit["periodic_reset_days"]
        ),
        (&json!(450), &json!(400), &json!(30)),
        "{workspace}"
    );
    let again = call(&client, "onboard-team", specification).await;
    assert_eq!(again["steps"], json!([]), "{again}");
    // A part that stays and contradicts what is wanted is named.
    let lower = json!({ "workspace": "ws-research", "usage_limits": [{ "type": "cost", "credit_limit": 300 }] });
    let error = client.call("onboard-team", lower).await.unwrap_err();
    assert!(
        error.contains("`usage_limits`: the stored `alert_threshold` of 400"),
        "{error}"
    );
}

#[tokio::test]
async fn member_that_is_no_address_and_no_uuid_is_rejected() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    for user in [
        "notanemail",
        "a@b",
        "@example.com",
        "a@",
        "a@b@example.com",
        "a b@example.com",
        "a@example..com",
        "",
    ] {
        let args = json!({ "workspace": TEAM, "members": [{ "user": "a@example.com" }, { "user": user }] });
        let error = client.call("onboard-team", args).await.unwrap_err();
        assert!(error.contains("members[1].user"), "{user}: {error}");
    }
    let user = "0a5d0000-0000-4000-8000-00000000ada2";
    let args = json!({ "workspace": TEAM, "members": [{ "user": user }, { "user": "a.b+c@mail.example.com" }] });
    let plan = call(&client, "onboard-team", args).await;
    assert_eq!(
        tools_of(&plan),
        ["create-workspace", "invite-user", "add-workspace-member"]
    );
}

#[tokio::test]
async fn step_that_a_policy_denies_refuses_the_plan() {
    let policy = PolicyFile::with(
        "version: '1'\nrules: [{ name: no-keys, action: deny, match: { tools: [create-api-key] } }]",
    );
    let client = connect_everywhere(&["--sandbox", "--policy", policy.path()], &[])
        .await
        .remove(0);
    let error = client
        .call("onboard-team", specification())
        .await
        .unwrap_err();
    assert!(error.contains("create-api-key"), "{error}");
    let mut without_key = specification();
    without_key.as_object_mut().unwrap().remove("key");
    assert!(client.call("onboard-team", without_key).await.is_ok());
    let doubled = json!({ "workspace": TEAM, "members": [{ "user": "a@example.com" }, { "user": "A@example.com" }] });
    let error = client.call("onboard-team", doubled).await.unwrap_err();
    assert!(error.contains("members[1].user"), "{error}");
}

#[test]
fn document_is_a_file_that_the_shell_applies() {
    let run = |args: &[&str]| {
        let mut command = command(args);
        command.env("PORTKEY_MCP_SANDBOX_NOW", "2026-05-31T12:00:00Z");
        command.stdin(Stdio::null()).output().unwrap()
    };
    let specification = specification().to_string();
    let args = ["call", "onboard-team", &specification, "--sandbox"];
    assert!(run(&args).status.success());
    let mut document: Value = serde_json::from_str(&specification).unwrap();
    document["document"] = true.into();
    let document = document.to_string();
    let output = run(&["call", "onboard-team", &document, "--sandbox"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("team.json");
    std::fs::write(&file, &output.stdout).unwrap();
    let applied = run(&["apply", file.to_str().unwrap(), "--sandbox"]);
    let text = String::from_utf8(applied.stdout).unwrap();
    assert!(applied.status.success(), "{text}");
    assert!(
        text.contains("done      workspace: create-workspace"),
        "{text}"
    );
    assert!(text.contains("done      key: create-api-key"), "{text}");
}

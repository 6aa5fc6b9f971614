//! Exports and drift: files that equal what the sandbox has, and plans that bring them back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    exported::{Exported, SECRETS},
    official_client::connect_everywhere,
    policy::PolicyFile,
};

fn run_drift(exported: &Exported) -> (i32, Value) {
    let dir = exported.dir();
    let (code, text) = exported.run(&["drift", dir.to_str().unwrap(), "--format", "json"]);
    // The log follows.
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    (code, values.next().unwrap().unwrap())
}

fn read(exported: &Exported, path: &str) -> Value {
    let text = fs::read_to_string(exported.dir().join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// Returns the text of each file of a folder, by its path.
fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn export_has_every_resource_of_the_sandbox_and_no_secret() {
    let exported = Exported::start();
    let (code, text) = exported.export(&[]);
    assert_eq!(code, 0, "{text}");
    let written = files(&exported.dir());

    // Of workspaces and the organisation, by what names the file.
    let workspaces = exported.send(Method::GET, "/admin/workspaces", None).await;
    for workspace in workspaces["data"].as_array().unwrap() {
        let slug = workspace["slug"].as_str().unwrap();
        assert!(written.contains_key(&format!("workspaces/{slug}/workspace.yaml")));
        for (kind, path, handle) in [
            ("providers", "/providers", "slug"),
            ("configs", "/configs", "slug"),
            ("prompts", "/prompts", "slug"),
            ("prompt-partials", "/prompts/partials", "slug"),
            ("collections", "/collections", "slug"),
            ("mcp-servers", "/mcp-servers", "slug"),
            ("usage-limits-policies", "/policies/usage-limits", "id"),
            ("rate-limits-policies", "/policies/rate-limits", "id"),
        ] {
            let listed = exported
                .send(Method::GET, &format!("{path}?workspace_id={slug}"), None)
                .await;
            let rows = listed["data"]
                .as_array()
                .or(listed.as_array())
                .unwrap()
                .clone();
            let mut expected: Vec<_> = rows
                .iter()
                .map(|row| {
                    format!(
                        "workspaces/{slug}/{kind}/{}.yaml",
                        row[handle].as_str().unwrap()
                    )
                })
                .collect();
            expected.sort();
            let prefix = format!("workspaces/{slug}/{kind}/");
            let found: Vec<_> = written
                .keys()
                .filter(|path| path.starts_with(&prefix))
                .collect();
            assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{slug} {kind}");
        }
    }
    for (kind, path, handle) in [
        ("integrations", "/integrations", "slug"),
        ("mcp-integrations", "/mcp-integrations", "slug"),
        ("secret-references", "/secret-references", "slug"),
        ("api-keys", "/api-keys", "id"),
        ("guardrails", "/guardrails", "slug"),
        ("labels", "/labels", "id"),
    ] {
        let listed = exported.send(Method::GET, path, None).await;
        for row in listed["data"].as_array().unwrap() {
            let name = format!("/{kind}/{}.yaml", row[handle].as_str().unwrap());
            let count = written
                .keys()
                .filter(|path| format!("/{path}").ends_with(&name))
                .count();
            assert_eq!(count, 1, "{name}");
        }
    }
    assert!(
        !written
            .keys()
            .any(|path| path.contains("/members/") || path.starts_with("users/"))
    );

    let config = read(
        &exported,
        "workspaces/ws-research/configs/pc-trial-split.yaml",
    );
    let stored = exported
        .send(Method::GET, "/configs/pc-trial-split", None)
        .await;
    let document = stored.get("data").unwrap_or(&stored)["config"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        config["config"],
        serde_json::from_str::<Value>(&document).unwrap()
    );
    let integration = read(&exported, "integrations/openai-production.yaml");
    assert_eq!(integration["masked_key"], "***", "{integration}");
    assert_eq!(integration["workspaces"].as_array().unwrap().len(), 3);
    assert_eq!(integration["models"].as_array().unwrap().len(), 5);

    let all: String = written.values().map(String::as_str).collect();
    for hidden in SECRETS
        .iter()
        .chain(&["created_at", "last_updated_at", "current_usage", "*****"])
    {
        assert!(!all.contains(hidden), "{hidden}");
    }
    for (path, text) in written.iter().filter(|(path, _)| *path != "snapshot.yaml") {
        let document: Value = serde_saphyr::from_str(text).unwrap();
        let names: Vec<_> = document.as_object().unwrap().keys().collect();
        assert!(names.is_sorted(), "{path}: {names:?}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &str| {
            fs::metadata(exported.dir().join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode(""), 0o700);
        assert_eq!(mode("workspaces/ws-research"), 0o700);
        assert_eq!(mode("integrations/openai-production.yaml"), 0o600);
    }
}

#[tokio::test]
async fn repeated_export_writes_what_changed_and_removes_only_its_own_files() {
    let exported = Exported::start();
    exported.export(&[]);
    let before = files(&exported.dir());
    let (code, text) = exported.export(&[]);
    assert!(code == 0 && text.contains("\n0 written, "), "{text}");
    assert_eq!(files(&exported.dir()), before);

    let mine = exported
        .dir()
        .join("workspaces/ws-research/configs/mine.yaml");
    fs::write(&mine, "a: 1\n").unwrap();
    exported
        .send(Method::DELETE, "/configs/pc-trial-split", None)
        .await;
    let rename = json!({ "name": "Renamed" });
    exported
        .send(Method::PUT, "/configs/pc-support-fallback", Some(rename))
        .await;
    let (code, text) = exported.export(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("\n1 written, ") && text.contains(" 1 removed"),
        "{text}"
    );
    assert!(mine.exists());
    let split = "workspaces/ws-research/configs/pc-trial-split.yaml";
    assert!(!exported.dir().join(split).exists());
    let renamed = read(
        &exported,
        "workspaces/ws-support-bot/configs/pc-support-fallback.yaml",
    );
    assert_eq!(renamed["name"], "Renamed");
}

#[tokio::test]
async fn folder_that_is_no_snapshot_is_refused() {
    let exported = Exported::start();
    fs::create_dir(exported.dir()).unwrap();
    fs::write(exported.dir().join("notes.txt"), "mine").unwrap();
    let (code, text) = exported.export(&[]);
    assert!(code == 1 && text.contains("is not empty"), "{text}");
    assert_eq!(files(&exported.dir()).len(), 1);
    let (code, text) = exported.run(&["drift", exported.dir().to_str().unwrap()]);
    assert!(code == 1 && text.contains("is not empty"), "{text}");
}

#[tokio::test]
async fn part_that_may_not_be_read_is_named_and_its_files_stay() {
    let exported = Exported::start();
    exported.export(&[]);
    let before = files(&exported.dir());
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: closed, action: deny, match: { tools: [list-all-configs] } }\n",
    );
    let dir = exported.dir();
    let dir = dir.to_str().unwrap();
    let (code, text) = exported.run(&["export", dir, "--policy", policy.path()]);
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("workspaces/ws-research/configs/: ") && text.contains("closed"),
        "{text}"
    );
    assert_eq!(files(&exported.dir()), before);
    let (code, text) = exported.run(&["drift", dir, "--policy", policy.path()]);
    assert!(code == 3 && text.contains("no differences"), "{text}");
}

#[tokio::test]
async fn chosen_kinds_and_workspaces_are_exported_and_remembered() {
    let exported = Exported::start();
    let dir = exported.dir();
    let dir = dir.to_str().unwrap();
    let args = [
        "export",
        dir,
        "--kinds",
        "configs,prompts",
        "--workspaces",
        "ws-research",
    ];
    let (code, text) = exported.run(&args);
    assert_eq!(code, 0, "{text}");
    let written = files(&exported.dir());
    assert!(written.contains_key("workspaces/ws-research/configs/pc-trial-split.yaml"));
    let is_chosen = |path: &&String| {
        *path == "snapshot.yaml"
            || path.starts_with("workspaces/ws-research/configs/")
            || path.starts_with("workspaces/ws-research/prompts/")
    };
    assert!(written.keys().all(|path| is_chosen(&path)), "{written:?}");
    let (code, text) = exported.export(&[]);
    assert!(code == 0 && text.contains("\n0 written, "), "{text}");
    let (code, text) = exported.run(&["export", dir, "--kinds", "configs"]);
    assert!(code == 1 && text.contains("of other kinds"), "{text}");
    let (code, text) = exported.run(&["export", &format!("{dir}2"), "--kinds", "konfigs"]);
    assert!(code == 1 && text.contains("`konfigs` is no kind"), "{text}");
}

#[tokio::test]
async fn drift_is_found_and_its_plan_restores_the_snapshot() {
    let exported = Exported::start();
    exported.export(&[]);
    let (code, drift) = run_drift(&exported);
    assert_eq!((code, &drift["drift"]), (0, &json!(false)), "{drift}");

    let config = json!({ "config": { "strategy": { "mode": "loadbalance" }, "targets": [
        { "provider": "@claude-trials", "weight": 0.5 }, { "provider": "@gemini", "weight": 0.5 }] } });
    exported
        .send(Method::PUT, "/configs/pc-trial-split", Some(config))
        .await;
    exported
        .send(Method::DELETE, "/configs/pc-support-fallback", None)
        .await;
    let added = json!({ "name": "Added", "workspace_id": "ws-research",
        "config": { "retry": { "attempts": 3 } } });
    exported.send(Method::POST, "/configs", Some(added)).await;

    let (code, drift) = run_drift(&exported);
    assert_eq!(code, 2, "{drift}");
    let split = "workspaces/ws-research/configs/pc-trial-split.yaml";
    assert_eq!(drift["changed"].as_array().unwrap().len(), 1, "{drift}");
    assert_eq!(drift["changed"][0]["path"], split);
    let changes = drift["changed"][0]["changes"].as_array().unwrap();
    let weights: Vec<_> = changes
        .iter()
        .map(|change| (&change["old"], &change["new"]))
        .collect();
    assert_eq!(
        weights,
        [(&json!(0.8), &json!(0.5)), (&json!(0.2), &json!(0.5))],
        "{drift}"
    );
    let removed = "workspaces/ws-support-bot/configs/pc-support-fallback.yaml";
    assert_eq!(drift["removed"], json!([removed]));
    let added = drift["added"].as_array().unwrap();
    assert_eq!(added.len(), 1, "{drift}");

    let plan = exported.folder.path().join("back.yaml");
    let dir = exported.dir();
    let plan = plan.to_str().unwrap();
    let (code, text) = exported.run(&["drift", dir.to_str().unwrap(), "--plan", plan]);
    assert!(code == 2 && text.contains("2 steps are in"), "{text}");
    assert!(
        text.contains("config.targets[provider=@claude-trials].weight: 0.8 -> 0.5"),
        "{text}"
    );
    let (code, text) = exported.run(&["apply", plan]);
    assert_eq!(code, 0, "{text}");
    let (_, drift) = run_drift(&exported);
    assert_eq!(drift["changed"], json!([]), "{drift}");
    let stored = exported
        .send(Method::GET, "/configs/pc-trial-split", None)
        .await;
    let document = stored.get("data").unwrap_or(&stored)["config"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(document.contains("0.8"), "{document}");
    // The config that was deleted is there again under another slug.
    let listed = exported
        .send(Method::GET, "/configs?workspace_id=ws-support-bot", None)
        .await;
    let names: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["name"])
        .collect();
    assert!(names.contains(&&json!("Support Fallback")), "{names:?}");
}

/// A setting that is changed in Portkey, and the file that has to show it.
struct ChangedSetting {
    method: Method,
    path: &'static str,
    body: Option<Value>,
    file: &'static str,
}

fn put(path: &'static str, body: Value, file: &'static str) -> ChangedSetting {
    ChangedSetting {
        method: Method::PUT,
        path,
        body: Some(body),
        file,
    }
}

/// Each setting of access is exported, its change is drift, and the plan sets it back.
#[tokio::test]
async fn access_is_exported_compared_and_restored() {
    let exported = Exported::start();
    let workspace = exported.get("/admin/workspaces/ws-shared").await;
    let shared = workspace["id"].as_str().unwrap().to_owned();
    let lead = "0a5d0000-0000-4000-8000-00000000ada2";
    let denied = json!({ "user_access": [{ "user_id": lead, "enabled": false }], "default_user_access": "deny" });
    exported
        .send(Method::PUT, "/mcp-servers/issues/user-access", Some(denied))
        .await;
    let (code, text) = exported.export(&[]);
    assert_eq!(code, 0, "{text}");
    let server = read(&exported, "workspaces/ws-shared/mcp-servers/issues.yaml");
    assert_eq!(server["default_user_access"], "deny", "{server}");
    assert_eq!(
        server["user_access"],
        json!([{ "enabled": false, "user_id": lead }]),
        "{server}"
    );
    let capabilities = server["capabilities"].as_array().unwrap();
    assert_eq!(capabilities.len(), 12, "{server}");
    let excluded = read(&exported, "input-guardrail-exclusions.yaml");
    assert_eq!(
        excluded["workspaces"].as_array().unwrap().len(),
        1,
        "{excluded}"
    );
    let mappings = exported.get("/scim/workspaces").await;
    for mapping in mappings["mappings"].as_array().unwrap() {
        let id = mapping["id"].as_str().unwrap();
        let written = files(&exported.dir());
        let file = written
            .iter()
            .find(|(path, _)| path.ends_with(&format!("/scim-workspace-mappings/{id}.yaml")));
        let document: Value = serde_saphyr::from_str(file.unwrap().1).unwrap();
        assert_eq!(document["role"], mapping["role"], "{id}");
    }
    let (code, drift) = run_drift(&exported);
    assert_eq!(code, 0, "{drift}");

    let integration = "integrations/openai-production.yaml";
    let tracker = "mcp-integrations/issue-tracker.yaml";
    let issues = "workspaces/ws-shared/mcp-servers/issues.yaml";
    let changes = [
        put(
            "/integrations/openai-production/models",
            json!({ "models": [{ "slug": "gpt-4o", "enabled": false }, { "slug": "o3-mini", "enabled": true }] }),
            integration,
        ),
        put(
            "/integrations/openai-production/workspaces",
            json!({ "workspaces": [{ "id": "ws-shared", "enabled": false },
                { "id": "ws-research", "enabled": true, "usage_limits": [{ "type": "cost", "credit_limit": 999 }] },
                { "id": "ws-support-bot", "enabled": true, "rate_limits": null }],
                "global_workspace_access": { "enabled": true } }),
            integration,
        ),
        put(
            "/integrations/bedrock-research/workspaces",
            json!({ "workspaces": [{ "id": "ws-shared", "enabled": true, "create_default_provider": false }] }),
            "integrations/bedrock-research.yaml",
        ),
        put(
            "/mcp-integrations/issue-tracker/workspaces",
            json!({ "workspaces": [{ "id": shared, "enabled": false }] }),
            tracker,
        ),
        put(
            "/mcp-integrations/issue-tracker/capabilities",
            json!({ "capabilities": [{ "name": "get_issue", "type": "tool", "enabled": false }] }),
            tracker,
        ),
        put(
            "/mcp-servers/issues/user-access",
            json!({ "user_access": [{ "user_id": lead, "enabled": true }], "default_user_access": "allow" }),
            issues,
        ),
        put(
            "/mcp-servers/issues/capabilities",
            json!({ "capabilities": [{ "name": "search_issues", "type": "tool", "enabled": false }] }),
            issues,
        ),
        put(
            "/workspace-exclusions/input-guardrails",
            json!({ "workspaces": [{ "workspace_id": "ws-research", "excluded": false },
                { "workspace_id": "ws-shared", "excluded": true }] }),
            "input-guardrail-exclusions.yaml",
        ),
        put(
            "/workspace-exclusions/output-guardrails",
            json!({ "workspaces": [{ "workspace_id": "ws-shared", "excluded": true }] }),
            "output-guardrail-exclusions.yaml",
        ),
    ];
    let mut expected = BTreeSet::new();
    for change in changes {
        exported.send(change.method, change.path, change.body).await;
        expected.insert(change.file.to_owned());
    }
    let mapping = mappings["mappings"][0]["id"].as_str().unwrap();
    exported
        .send(Method::DELETE, &format!("/scim/workspaces/{mapping}"), None)
        .await;
    let (code, drift) = run_drift(&exported);
    assert_eq!(code, 2, "{drift}");
    let changed: BTreeSet<_> = drift["changed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(changed, expected, "{drift}");
    assert_eq!(drift["removed"].as_array().unwrap().len(), 1, "{drift}");
    assert_eq!(drift["added"], json!([]), "{drift}");

    let plan = exported.folder.path().join("back.yaml");
    let dir = exported.dir();
    let plan = plan.to_str().unwrap();
    let (code, text) = exported.run(&["drift", dir.to_str().unwrap(), "--plan", plan]);
    assert_eq!(code, 2, "{text}");
    let (code, text) = exported.run(&["apply", plan]);
    assert_eq!(code, 0, "{text}\n{}", fs::read_to_string(plan).unwrap());
    let (_, drift) = run_drift(&exported);
    assert_eq!(drift["changed"], json!([]), "{drift}");
    let mappings = exported.get("/scim/workspaces").await;
    assert_eq!(
        mappings["mappings"].as_array().unwrap().len(),
        3,
        "{mappings}"
    );
    // No second provider was made by the access that was given back.
    let providers = exported.get("/providers?workspace_id=ws-shared").await;
    let of_openai = providers["data"].as_array().unwrap().iter();
    let of_openai = of_openai.filter(|row| row["integration_id"] == "openai-production");
    assert_eq!(of_openai.count(), 1, "{providers}");
}

/// An integration that is created again has its models and workspaces again.
#[tokio::test]
async fn integration_that_was_deleted_is_restored_with_its_access() {
    let exported = Exported::start();
    let made = json!({ "name": "Spare", "slug": "spare", "ai_provider_id": "ollama",
        "configurations": { "custom_host": "https://ollama.example.com" } });
    exported
        .send(Method::POST, "/integrations", Some(made))
        .await;
    let access = json!({ "workspaces": [{ "id": "ws-shared", "enabled": true, "create_default_provider": false,
        "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 7 }] }] });
    exported
        .send(Method::PUT, "/integrations/spare/workspaces", Some(access))
        .await;
    let models = json!({ "models": [{ "slug": "own-model", "enabled": true, "is_custom": true }] });
    exported
        .send(Method::PUT, "/integrations/spare/models", Some(models))
        .await;
    let dir = exported.dir();
    let dir = dir.to_str().unwrap();
    let (code, text) = exported.run(&["export", dir, "--kinds", "integrations"]);
    assert_eq!(code, 0, "{text}");
    exported
        .send(Method::DELETE, "/integrations/spare", None)
        .await;
    let plan = exported.folder.path().join("back.yaml");
    let plan = plan.to_str().unwrap();
    let (code, text) = exported.run(&["drift", dir, "--plan", plan]);
    assert_eq!(code, 2, "{text}");
    let (code, text) = exported.run(&["apply", plan]);
    assert_eq!(code, 0, "{text}\n{}", fs::read_to_string(plan).unwrap());
    let (_, drift) = run_drift(&exported);
    // It has a new id, and all else is as it was.
    let changes = drift["changed"][0]["changes"].as_array().unwrap();
    let paths: Vec<_> = changes.iter().map(|change| &change["path"]).collect();
    assert_eq!(paths, ["id"], "{drift}");
    for list in ["added", "removed"] {
        assert_eq!(drift[list], json!([]), "{drift}");
    }
}

/// A part that may not be read costs that part alone, and is no difference.
#[tokio::test]
async fn part_of_a_document_that_may_not_be_read_is_named() {
    let plain = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let scope = json!({ "kinds": ["mcp-servers", "guardrails"] });
    let whole = plain.call("export-snapshot", scope.clone()).await.unwrap();
    let policy = PolicyFile::with(
        "version: \"1\"\nrules: [{ name: closed, action: deny, match: { tools: [list-mcp-server-user-access] } }]\n",
    );
    let client = connect_everywhere(&["--sandbox", "--policy", policy.path()], &[])
        .await
        .remove(0);
    let partly = client.call("export-snapshot", scope.clone()).await.unwrap();
    let path = "workspaces/ws-shared/mcp-servers/issues.yaml";
    let text = partly["files"][path].as_str().unwrap();
    assert!(
        text.contains("search_issues") && !text.contains("default_user_access"),
        "{text}"
    );
    let unseen = partly["not_seen"].to_string();
    assert!(
        unseen.contains(&format!("{path}#default_user_access")),
        "{unseen}"
    );
    let mut args = scope;
    args["files"] = whole["files"].clone();
    args["plan"] = true.into();
    let drift = client.call("detect-drift", args).await.unwrap();
    assert_eq!(drift["drift"], false, "{drift}");
    assert_eq!(drift["steps"], json!([]), "{drift}");
}

/// The answer and the shell say what a snapshot does not have.
#[tokio::test]
async fn what_is_not_covered_is_named() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let args = json!({ "kinds": ["configs"], "workspaces": ["ws-research"] });
    let answer = client.call("export-snapshot", args).await.unwrap();
    let left = answer["not_covered"].to_string();
    for what in [
        "prompts",
        "scim-workspace-mappings",
        "secrets",
        "MCP sign-ins",
        "agents",
    ] {
        assert!(left.contains(what), "{what}: {left}");
    }
    let args = json!({ "files": answer["files"], "workspaces": ["ws-research"] });
    let drift = client.call("detect-drift", args).await.unwrap();
    assert_eq!(drift["not_covered"], answer["not_covered"], "{drift}");
    let exported = Exported::start();
    let (_, text) = exported.export(&[]);
    assert!(
        text.contains("not covered: users, user-invites, members, secrets, "),
        "{text}"
    );
}

#[tokio::test]
async fn tools_export_and_compare_over_every_transport() {
    for client in connect_everywhere(&["--sandbox", "--max-result-bytes", "0"], &[]).await {
        let way = client.way;
        let scope = json!({ "kinds": ["configs"], "workspaces": ["ws-research"] });
        let exported = client.call("export-snapshot", scope).await.unwrap();
        assert_eq!(
            exported["counts"],
            json!({ "configs": exported["files"].as_object().unwrap().len() }),
            "{way}"
        );
        let mut args =
            json!({ "files": exported["files"], "workspaces": ["ws-research"], "plan": true });
        let same = client.call("detect-drift", args.clone()).await.unwrap();
        assert_eq!(same["drift"], false, "{way}: {same}");
        let path = "workspaces/ws-research/configs/pc-trial-split.yaml";
        let text = exported["files"][path].as_str().unwrap();
        args["files"][path] = text.replace("name: Trial Split", "name: Before").into();
        let drift = client.call("detect-drift", args.clone()).await.unwrap();
        assert_eq!(
            drift["changed"],
            json!([{ "path": path, "changes": [{ "path": "name", "old": "Before", "new": "Trial Split" }] }]),
            "{way}"
        );
        let steps = json!({ "steps": drift["steps"] });
        let planned = client.call("plan-changes", steps).await.unwrap();
        assert_eq!(
            planned["steps"][0]["changes"],
            json!([{ "path": "name", "from": "Trial Split", "to": "Before" }]),
            "{way}: {planned}"
        );
        args["files"] = json!({ "../a.yaml": "a: 1" });
        let error = client.call("detect-drift", args).await.unwrap_err();
        assert!(error.contains("is no path of a snapshot"), "{way}: {error}");
    }
}

//! Plans of changes: what is shown, what is sent, and what an interrupted plan leaves.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use portkey_mcp::security::signed_state::Keyring;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    audit::read_entries,
    form_client::{FormClient, FormReaction, TRANSPORTS_AND_GENERATIONS, connect},
    official_client::{ConnectedClient, connect_everywhere},
    policy::PolicyFile,
    process::command,
    programs::is_missing,
    redis::RedisServer,
    requests::{call_request, client as http_client, send_request},
    server::ServerProcess,
    upstream::{KEY, MockUpstream, ResponseAction, http_response, json_response},
};

/// Creates a config, renames it by its slug, and names it in another one.
fn three_steps() -> Value {
    json!([
        { "id": "rename", "tool": "update-config",
            "arguments": { "slug": "${routing.slug}", "patch": { "name": "Routing 2" } } },
        { "id": "routing", "tool": "create-config", "arguments": { "name": "Routing",
            "workspace_id": "ws-research", "config": { "retry": { "attempts": 3 } } } },
        { "id": "split", "tool": "update-config", "arguments": { "slug": "pc-trial-split",
            "patch": { "name": "Before ${routing.slug}" } } },
    ])
}

async fn plan(client: &ConnectedClient, steps: &Value) -> Result<Value, String> {
    client.call("plan-changes", json!({ "steps": steps })).await
}

async fn apply(client: &ConnectedClient, plan: &Value) -> Result<Value, String> {
    client
        .call("apply-plan", json!({ "plan": plan["plan"] }))
        .await
}

async fn config_names(client: &ConnectedClient) -> Vec<String> {
    let listed = client.call("list-all-configs", json!({})).await.unwrap();
    let rows = listed["data"].as_array().unwrap();
    let names = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap().to_owned());
    names.collect()
}

#[tokio::test]
async fn plan_with_references_is_shown_and_applied() {
    for client in connect_everywhere(&["--sandbox"], &[]).await {
        let way = client.way;
        let before = config_names(&client).await;
        let planned = plan(&client, &three_steps()).await.unwrap();
        let ids: Vec<_> = planned["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| &step["id"])
            .collect();
        assert_eq!(ids, ["routing", "rename", "split"], "{way}: {planned}");
        assert_eq!(
            planned["steps"][2]["changes"],
            json!([{ "path": "name", "from": "Trial Split", "to": "Before ${routing.slug}" }]),
            "{way}: {planned}"
        );
        assert_eq!(config_names(&client).await, before, "{way}");
        let applied = apply(&client, &planned).await.unwrap();
        assert_eq!(applied["status"], "applied", "{way}: {applied}");
        let slug = applied["done"][0]["answer"]["slug"].as_str().unwrap();
        let names = config_names(&client).await;
        assert!(names.contains(&"Routing 2".to_owned()), "{way}: {names:?}");
        assert!(
            names.contains(&format!("Before {slug}")),
            "{way}: {names:?}"
        );
        let again = apply(&client, &planned).await.unwrap();
        assert_eq!(
            (&again["status"], &again["resumed"]),
            (&json!("applied"), &json!(true)),
            "{way}: {again}"
        );
        assert_eq!(again["note"], "this plan is done already; nothing was sent");
        assert_eq!(config_names(&client).await, names, "{way}");
        client.client.cancel().await.unwrap();
    }
}

/// A plan that is refused.
struct RefusedCase {
    steps: Value,
    error: &'static str,
}

#[tokio::test]
async fn invalid_plan_is_refused_with_the_step() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let config = |slug: &str| json!({ "slug": slug, "name": "A" });
    let cases = [
        RefusedCase {
            steps: json!([
                { "id": "a", "tool": "update-config", "arguments": config("${b.slug}") },
                { "id": "b", "tool": "update-config", "arguments": config("${a.slug}") },
            ]),
            error: "`a`, `b` refer to each other in a circle",
        },
        RefusedCase {
            steps: json!([{ "id": "a", "tool": "update-config", "arguments": config("${z.slug}") }]),
            error: "refers to `z`, and there is no such step",
        },
        RefusedCase {
            steps: json!([{ "id": "a", "tool": "update-config",
                "arguments": { "slug": "pc-trial-split", "nam": "B" } }]),
            error: "nam",
        },
        RefusedCase {
            steps: json!([{ "id": "a", "tool": "update-config",
                "arguments": { "slug": "pc-trial-split", "patch": { "is_default": 1 } } }]),
            error: "is_default",
        },
        RefusedCase {
            steps: json!([{ "id": "a", "tool": "get-config", "arguments": { "slug": "pc-trial-split" } }]),
            error: "only reads",
        },
        RefusedCase {
            steps: json!([{ "id": "a", "tool": "update-confg" }]),
            error: "there is no tool `update-confg`",
        },
        RefusedCase {
            steps: json!([
                { "id": "k", "tool": "create-api-key", "arguments": { "type": "workspace",
                    "sub_type": "service", "name": "K", "workspace_id": "ws-research", "scopes": ["logs.list"] } },
                { "id": "c", "tool": "update-config", "arguments": config("${k.key}") },
            ]),
            error: "is a secret, which no plan keeps",
        },
        RefusedCase {
            steps: json!([
                { "id": "a", "tool": "update-config", "arguments": config("pc-cached-answers") },
                { "id": "b", "tool": "delete-config", "arguments": { "slug": "${a.slug}" } },
            ]),
            error: "refers to `a`, which creates nothing; give the value itself",
        },
        RefusedCase {
            steps: json!([
                { "id": "a", "tool": "create-config", "arguments": { "name": "pc-trial-split",
                    "workspace_id": "ws-research", "config": {} } },
                { "id": "b", "tool": "delete-config", "arguments": { "slug": "${a.name}" } },
            ]),
            error: "of `a` it can be only `id` or `slug`",
        },
        RefusedCase {
            steps: json!([
                { "id": "a", "tool": "create-config", "arguments": { "name": "A",
                    "workspace_id": "ws-research", "config": {} } },
                { "id": "b", "tool": "delete-config", "arguments": { "slug": "pc-${a.slug}" } },
            ]),
            error: "and nothing beside it",
        },
        RefusedCase {
            steps: json!([
                { "id": "a", "tool": "delete-config", "arguments": { "slug": "pc-trial-split" } },
                { "id": "b", "tool": "update-config", "arguments": config("pc-trial-split") },
            ]),
            error: "is about a resource that `a` deletes",
        },
        RefusedCase {
            steps: json!([
                { "id": "a", "tool": "delete-workspace", "arguments": {
                    "workspace_id": "ws-shared", "name": "Shared", "force_delete": true } },
                { "id": "b", "tool": "add-workspace-member", "arguments": { "workspace_id": "ws-shared",
                    "users": [{ "id": "0a5d0000-0000-4000-8000-00000000ada3", "role": "member" }] } },
            ]),
            error: "is about a resource that `a` deletes",
        },
    ];
    for case in cases {
        let error = plan(&client, &case.steps).await.unwrap_err();
        assert!(error.contains(case.error), "{}: {error}", case.steps);
    }
    for field in [
        "key.", "", ".key", "/key", "data.key", "[key", "key[]", " ", "key[0]",
    ] {
        let steps = json!([
            { "id": "k", "tool": "create-api-key", "arguments": { "type": "workspace",
                "sub_type": "service", "name": "K", "workspace_id": "ws-research", "scopes": ["logs.list"] } },
            { "id": "c", "tool": "update-config", "arguments": {
                "slug": "pc-trial-split", "name": format!("${{k.{field}}}") } },
        ]);
        let error = plan(&client, &steps).await.unwrap_err();
        let is_refused = error.contains("is a secret") || error.contains("names no field");
        assert!(is_refused, "{field}: {error}");
    }
    let document = "- tool: update-config\n  arguments: {slug: pc-trial-split, name: From YAML}\n";
    let planned = client
        .call("plan-changes", json!({ "document": document }))
        .await
        .unwrap();
    assert_eq!(
        planned["steps"][0]["changes"][0]["to"], "From YAML",
        "{planned}"
    );
}

#[tokio::test]
async fn drift_since_planning_stops_the_plan_before_anything_is_sent() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let planned = plan(&client, &three_steps()).await.unwrap();
    let change = json!({ "slug": "pc-trial-split", "name": "Somebody else's" });
    client.call("update-config", change).await.unwrap();
    let names = config_names(&client).await;
    let applied = apply(&client, &planned).await.unwrap();
    assert_eq!(
        (&applied["stopped"]["reason"], &applied["stopped"]["step"]),
        (&json!("drift"), &json!("split")),
        "{applied}"
    );
    assert_eq!(applied["done"], json!([]));
    assert_eq!(config_names(&client).await, names);

    let planned = plan(&client, &three_steps()).await.unwrap();
    let same_name = json!({ "name": "Routing", "workspace_id": "ws-research",
        "config": { "retry": { "attempts": 1 } } });
    client.call("create-config", same_name).await.unwrap();
    let applied = apply(&client, &planned).await.unwrap();
    let error = applied["stopped"]["error"].as_str().unwrap();
    assert!(error.starts_with("1 resources are named like"), "{applied}");
}

#[tokio::test]
async fn denied_step_refuses_the_whole_plan() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - name: keep-split\n    action: deny\n    match: { tools: [update-config] }\n    when: args.slug == \"pc-trial-split\"\n",
    );
    let args = ["--sandbox", "--policy", policy.path()];
    let client = connect_everywhere(&args, &[]).await.remove(0);
    let names = config_names(&client).await;
    let error = plan(&client, &three_steps()).await.unwrap_err();
    assert!(
        error.contains("steps.split") && error.contains("`keep-split` denies"),
        "{error}"
    );
    assert_eq!(config_names(&client).await, names);
}

#[tokio::test]
async fn plan_of_another_caller_or_with_a_change_is_no_plan() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let planned = plan(&client, &three_steps()).await.unwrap();
    let token = planned["plan"].as_str().unwrap();
    for plan in [format!("{token}x"), "plan_00".to_owned(), String::new()] {
        let error = client
            .call("apply-plan", json!({ "plan": plan }))
            .await
            .unwrap_err();
        assert!(
            error.contains("is no plan that this server made for you"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn long_plan_is_kept_under_a_handle() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let steps: Vec<_> = (0..12)
        .map(|i| {
            json!({ "tool": "create-label", "arguments": { "name": format!("label-{i}"),
                "workspace_id": "ws-research", "description": "x".repeat(200) } })
        })
        .collect();
    let planned = plan(&client, &json!(steps)).await.unwrap();
    assert!(
        planned["plan"].as_str().unwrap().starts_with("plan_"),
        "{planned}"
    );
    let applied = apply(&client, &planned).await.unwrap();
    assert_eq!(applied["done"].as_array().unwrap().len(), 12, "{applied}");
}

#[tokio::test]
async fn whole_plan_is_approved_once() {
    for way in TRANSPORTS_AND_GENERATIONS {
        let human = FormClient::new(true);
        let session = connect(way, &human, &["--approve-writes"]).await;
        let (done, text) = session
            .call_text("plan-changes", json!({ "steps": three_steps() }))
            .await;
        assert!(done, "{text}");
        let planned: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(human.request_count(), 0, "{way:?}");
        let args = json!({ "plan": planned["plan"] });
        human.set_reaction(FormReaction::Decline);
        let (done, text) = session.call_text("apply-plan", args.clone()).await;
        assert!(!done && text.contains("declined"), "{way:?}: {text}");
        human.set_reaction(FormReaction::Accept(json!({ "approve": true })));
        let (done, text) = session.call_text("apply-plan", args).await;
        let applied: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(done && applied["status"] == "applied", "{way:?}: {text}");
        assert_eq!(human.request_count(), 2, "{way:?}");
        let request = human.last_request();
        for part in [
            "create-config",
            "Before ${routing.slug}",
            "--approve-writes",
        ] {
            assert!(request.contains(part), "{way:?}: {request}");
        }
        session.client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn dry_run_and_approval_show_what_depends_on_the_target() {
    let client = connect_everywhere(&["--sandbox", "--dry-run"], &[])
        .await
        .remove(0);
    let delete = json!({ "slug": "openai-production" });
    let report = client
        .call("delete-integration", delete.clone())
        .await
        .unwrap();
    let summary = report["impact"]["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("3 workspaces, 3 providers, 1 config, 1 prompt, "),
        "{report}"
    );
    let disable = json!({ "slug": "openai-production", "workspaces": [{ "id": "ws-shared", "enabled": false }] });
    let report = client
        .call("bulk-update-integration-workspaces", disable)
        .await
        .unwrap();
    assert!(report["impact"]["summary"].is_string(), "{report}");
    let rename = json!({ "slug": "openai-production", "name": "Other" });
    let report = client.call("update-integration", rename).await.unwrap();
    assert!(report.get("impact").is_none(), "{report}");

    let human = FormClient::new(true);
    let session = connect((false, false), &human, &["--approve-deletes"]).await;
    session
        .call_text("delete-integration", delete.clone())
        .await;
    let request = human.last_request();
    assert!(request.contains("What depends on it:"), "{request}");
    assert!(request.contains("3 workspaces, 3 providers"), "{request}");

    let steps = json!([{ "id": "gone", "tool": "delete-integration", "arguments": delete }]);
    let planned = plan(&client, &steps).await.unwrap();
    assert!(
        planned["impact"]
            .as_str()
            .unwrap()
            .starts_with("gone: 3 workspaces"),
        "{planned}"
    );
}

/// A lookup whose reads are denied says so, and does not keep the call from being made.
#[tokio::test]
async fn impact_that_cannot_be_seen_is_said_and_blocks_nothing() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - name: closed\n    action: deny\n    match: { tools: [\"list-*\", get-config] }\n",
    );
    let client = connect_everywhere(&["--sandbox", "--policy", policy.path(), "--dry-run"], &[])
        .await
        .remove(0);
    let delete = json!({ "slug": "pc-trial-split" });
    let report = client.call("delete-config", delete.clone()).await.unwrap();
    let summary = report["impact"]["summary"].as_str().unwrap();
    assert!(summary.contains("not everything could be seen"), "{report}");
    let client = connect_everywhere(&["--sandbox", "--policy", policy.path()], &[])
        .await
        .remove(0);
    client.call("delete-config", delete).await.unwrap();
}

/// The answer may be the only copy of a key, so the step is done whatever a later one wants of it.
#[tokio::test]
async fn misspelt_reference_stops_the_plan_after_its_step_is_done() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let steps = json!([
        { "id": "k", "tool": "create-api-key", "arguments": { "type": "workspace",
            "sub_type": "service", "name": "K", "workspace_id": "ws-research", "scopes": ["logs.list"] } },
        { "id": "c", "tool": "update-config", "arguments": { "slug": "pc-trial-split", "name": "${k.idd}" } },
    ]);
    let planned = plan(&client, &steps).await.unwrap();
    let applied = apply(&client, &planned).await.unwrap();
    assert!(applied["done"][0]["answer"]["key"].is_string(), "{applied}");
    assert_eq!(applied["stopped"]["step"], "c", "{applied}");
    let error = applied["stopped"]["error"].as_str().unwrap();
    assert!(
        error.contains("its answer has no `idd`; it has "),
        "{applied}"
    );
    let again = apply(&client, &planned).await.unwrap();
    assert_eq!(again["not_done"], json!(["c"]), "{again}");
}

/// An approval covers a step only if it was shown that this step needs it.
#[tokio::test]
async fn approval_shows_target_risk_and_rule_of_each_step() {
    let human = FormClient::new(true);
    let session = connect((false, false), &human, &["--approve-deletes"]).await;
    let steps = json!([
        { "id": "new", "tool": "create-config", "arguments": { "name": "New",
            "workspace_id": "ws-research", "config": { "retry": { "attempts": 3 } } } },
        { "id": "gone", "tool": "delete-config", "arguments": { "slug": "${new.slug}" } },
    ]);
    let (done, text) = session
        .call_text("plan-changes", json!({ "steps": steps }))
        .await;
    assert!(done, "{text}");
    let planned: Value = serde_json::from_str(&text).unwrap();
    human.set_reaction(FormReaction::Accept(json!({ "approve": true })));
    let args = json!({ "plan": planned["plan"] });
    session.call_text("apply-plan", args).await;
    let request = human.last_request();
    for part in [
        "target: DELETE ",
        "${new.slug}",
        "risk: ",
        "needs approval: ",
    ] {
        assert!(request.contains(part), "{request}");
    }
    session.client.cancel().await.unwrap();
}

/// A second call takes over a plan whose first call waits for a human, and no write is made twice.
#[tokio::test]
async fn two_calls_of_one_plan_make_each_write_once() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let planned = plan(&client, &three_steps()).await.unwrap();
    let before = config_names(&client).await.len();
    let both = tokio::join!(apply(&client, &planned), apply(&client, &planned));
    for applied in [both.0, both.1] {
        match applied {
            Ok(applied) => assert_eq!(applied["status"], "applied", "{applied}"),
            Err(error) => assert!(
                error.contains("is being applied by another call"),
                "{error}"
            ),
        }
    }
    assert_eq!(config_names(&client).await.len(), before + 1);
}

/// A sandbox with faults, and a plan of writes that a second send would double.
struct Interrupted {
    sandbox: ServerProcess,
    folder: TempDir,
}

const CREATED: usize = 5;

impl Interrupted {
    fn start(seed: u32) -> Self {
        let faults = format!("latency:15ms,lost:0.12,503:0.05,seed:{seed}");
        let sandbox = ServerProcess::sandbox_api()
            .args(&["--sandbox-faults", &faults])
            .start();
        let folder = tempfile::tempdir().unwrap();
        Self { sandbox, folder }
    }

    fn steps() -> Value {
        let mut steps: Vec<Value> = (0..CREATED)
            .map(|i| {
                json!({ "id": format!("new{i}"), "tool": "create-config", "arguments": {
                    "name": format!("Interrupted {i}"), "workspace_id": "ws-research",
                    "config": { "retry": { "attempts": 3 } } } })
            })
            .collect();
        steps.push(json!({ "id": "last", "tool": "update-config",
            "arguments": { "slug": "${new0.slug}", "name": "Interrupted last" } }));
        steps.into()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = command(args);
        command.args(["--base-url", &self.sandbox.url, "--api-key", "sandbox-key"]);
        // A step without an answer is made again only after it.
        command.args(["--timeout", "1"]);
        command.stdin(Stdio::null());
        command
    }

    /// Requests of the audit log that had this method and path.
    async fn writes(&self, method: &str, path: &str) -> Vec<Value> {
        let url = format!(
            "{}/audit-logs?start_time=2020-01-01T00:00:00Z&end_time=2100-01-01T00:00:00Z",
            self.sandbox.url
        );
        for _ in 0..20 {
            let request = http_client()
                .request(Method::GET, &url)
                .header("x-portkey-api-key", "sandbox-key");
            // The sandbox loses this answer, too.
            let Ok(answer) = request.send().await else {
                continue;
            };
            if !answer.status().is_success() {
                continue;
            }
            let log: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            let records = log["records"].as_array().unwrap();
            return records
                .iter()
                .filter(|entry| entry["method"] == method)
                .filter(|entry| entry["uri"].as_str().unwrap().starts_with(path))
                .filter(|entry| entry["response_status_code"] == 200)
                .cloned()
                .collect();
        }
        panic!("the audit log cannot be read");
    }

    /// Checks that each write of the plan was made once.
    async fn assert_each_write_once(&self) {
        let created = self.writes("POST", "/v1/configs").await;
        let mut names: Vec<_> = created
            .iter()
            .map(|entry| {
                let body: Value =
                    serde_json::from_str(entry["request_body"].as_str().unwrap()).unwrap();
                body["name"].as_str().unwrap().to_owned()
            })
            .collect();
        names.sort();
        let expected: Vec<_> = (0..CREATED).map(|i| format!("Interrupted {i}")).collect();
        assert_eq!(names, expected);
        assert_eq!(self.writes("PUT", "/v1/configs").await.len(), 1);
    }
}

fn text(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Kills a process when a file contains a text. Returns false if the process ends before.
fn kill_when(child: &mut Child, file: &Path, contains: &str) -> bool {
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if fs::read_to_string(file).is_ok_and(|text| text.contains(contains)) {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::yield_now();
    }
}

/// kill -9 at each step, with lost answers and refusals: nothing is lost, and nothing is doubled.
#[tokio::test]
async fn killed_shell_goes_on_without_doubling_a_write() {
    for seed in 1..=2 {
        let run = Interrupted::start(seed);
        let spec = run.path("changes.json");
        fs::write(&spec, Interrupted::steps().to_string()).unwrap();
        let plan = run.path("changes.plan");
        let (spec, plan_text) = (spec.to_str().unwrap(), plan.to_str().unwrap());
        let is_planned = (0..10).any(|_| {
            let planned = run
                .command(&["plan", spec, "--output", plan_text])
                .output()
                .unwrap();
            planned.status.success()
        });
        assert!(is_planned, "seed {seed}");
        let progress = run.path("changes.plan.progress");
        let mut kills = 0;
        for i in 0..CREATED {
            let mut child = run
                .command(&["apply", plan_text])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mark = format!("\"new{i}\":{{\"sent\"");
            kills += usize::from(kill_when(&mut child, &progress, &mark));
        }
        assert!(kills > 0, "seed {seed}");
        let mut last = None;
        for _ in 0..60 {
            let output = run.command(&["apply", plan_text]).output().unwrap();
            let is_done = output.status.success();
            last = Some(output);
            if is_done {
                break;
            }
        }
        let last = last.unwrap();
        assert!(last.status.success(), "seed {seed}: {}", text(&last));
        let again = run.command(&["apply", plan_text]).output().unwrap();
        assert!(again.status.success(), "seed {seed}: {}", text(&again));
        assert!(text(&again).contains("this plan is done already; nothing was sent"));
        run.assert_each_write_once().await;
    }
}

/// kill -9 of a server whose store is shared: another one with the same keys goes on with the plan.
#[tokio::test]
async fn killed_server_goes_on_without_doubling_a_write() {
    if is_missing("redis-server") {
        return;
    }
    let run = Interrupted::start(3);
    let redis = RedisServer::start();
    let (keys, url) = (run.path("keys"), run.path("redis"));
    fs::write(&keys, Keyring::generate_line("k1").unwrap()).unwrap();
    fs::write(&url, redis.url()).unwrap();
    let start = || {
        ServerProcess::http()
            .upstream(&run.sandbox.url)
            .api_key("sandbox-key")
            .args(&["--timeout", "1"])
            .args(&["--state-key-file", keys.to_str().unwrap()])
            .args(&["--redis-url-file", url.to_str().unwrap()])
            .start()
    };
    let call = async |server: &ServerProcess, tool: &str, args: Value| {
        let (_, answer) = send_request(call_request(server, tool, args)).await;
        let text = answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default();
        serde_json::from_str::<Value>(text).unwrap_or_else(|_| answer.clone())
    };
    let mut server = start();
    let mut plan = Value::Null;
    for _ in 0..10 {
        let planned = call(
            &server,
            "plan-changes",
            json!({ "steps": Interrupted::steps() }),
        )
        .await;
        plan = planned["plan"].clone();
        if plan.is_string() {
            break;
        }
    }
    assert!(plan.is_string());
    let apply = json!({ "plan": plan });
    {
        let send = || {
            let request = call_request(&server, "apply-plan", apply.clone());
            tokio::spawn(async move { request.send().await?.bytes().await })
        };
        let mut sent = send();
        let mut calls = 1;
        while run.writes("POST", "/v1/configs").await.len() < 2 {
            // A fault ends a call.
            if sent.is_finished() {
                assert!(calls < 60, "{calls} calls have not made two writes");
                sent = send();
                calls += 1;
            }
        }
        server.signal("KILL");
        _ = sent.await;
    }
    server = start();
    let mut applied = Value::Null;
    for _ in 0..60 {
        applied = call(&server, "apply-plan", apply.clone()).await;
        if applied["status"] == "applied" {
            break;
        }
    }
    assert_eq!(applied["status"], "applied", "{applied}");
    assert_eq!(applied["resumed"], true, "{applied}");
    run.assert_each_write_once().await;
}

#[test]
fn shell_shows_plans_and_applies_files() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("changes.yaml");
    let document = "- id: rename\n  tool: update-config\n  arguments:\n    slug: pc-trial-split\n    patch: {name: \"A\\u001b[31mB\"}\n";
    fs::write(&spec, document).unwrap();
    let spec = spec.to_str().unwrap();
    let run = |args: &[&str]| command(args).stdin(Stdio::null()).output().unwrap();
    let shown = run(&["plan", spec, "--sandbox"]);
    let shown_text = text(&shown);
    assert!(shown.status.success(), "{shown_text}");
    assert!(
        shown_text.contains("rename: update-config (update) `Trial Split`"),
        "{shown_text}"
    );
    assert!(
        shown_text.contains("~ name: \"Trial Split\" -> "),
        "{shown_text}"
    );
    assert!(!shown_text.contains('\u{1b}'), "{shown_text}");

    let applied = run(&["apply", spec, "--sandbox"]);
    let applied_text = text(&applied);
    assert!(applied.status.success(), "{applied_text}");
    assert!(
        applied_text.contains("done      rename: update-config"),
        "{applied_text}"
    );
    assert!(
        applied_text.contains("\n1 step\n") && !applied_text.contains("nothing was sent"),
        "{applied_text}"
    );
    assert!(!Path::new(&format!("{spec}.plan")).exists());

    fs::write(
        spec,
        "- tool: update-config\n  arguments: {slug: pc-none, name: A}\n",
    )
    .unwrap();
    let failed = run(&["apply", spec, "--sandbox"]);
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
    fs::write(
        spec,
        "steps: [{tool: update-config, arguments: {slug: \"${x.y}\"}}]",
    )
    .unwrap();
    let refused = run(&["plan", spec, "--sandbox"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("there is no such step"),
        "{}",
        text(&refused)
    );
}

/// Runs a command whose sandbox has the clock of the commands before, also at midnight.
fn run_at_noon(args: &[&str]) -> Output {
    let mut command = command(args);
    command.env("PORTKEY_MCP_SANDBOX_NOW", "2026-05-31T12:00:00Z");
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn changed_plan_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("changes.yaml");
    fs::write(
        &spec,
        "- tool: update-config\n  arguments: {slug: pc-trial-split, name: A}\n",
    )
    .unwrap();
    let plan = folder.path().join("changes.plan");
    let run = run_at_noon;
    let paths = (spec.to_str().unwrap(), plan.to_str().unwrap());
    assert!(
        run(&["plan", paths.0, "--output", paths.1, "--sandbox"])
            .status
            .success()
    );
    let changed = fs::read_to_string(&plan)
        .unwrap()
        .replace("pc-trial-split", "pc-cached-answers");
    fs::write(&plan, changed).unwrap();
    let refused = run(&["apply", paths.1, "--sandbox"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("was changed since it was made"),
        "{}",
        text(&refused)
    );
}

/// The files of a plan are bound to it, and only their user can read them.
#[cfg(unix)]
#[test]
fn progress_of_another_plan_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (spec, plan, progress) = (path("a.yaml"), path("a.plan"), path("a.plan.progress"));
    let run = run_at_noon;
    let write_spec = |name: &str| {
        let document =
            format!("- tool: update-config\n  arguments: {{slug: pc-trial-split, name: {name}}}\n");
        fs::write(&spec, document).unwrap();
    };
    let make_plan = || {
        let planned = run(&["plan", &spec, "--output", &plan, "--sandbox"]);
        assert!(planned.status.success(), "{}", text(&planned));
    };
    write_spec("A");
    make_plan();
    let applied = run(&["apply", &plan, "--sandbox"]);
    assert!(applied.status.success(), "{}", text(&applied));
    for file in [&plan, &progress] {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let kept = fs::read(&progress).unwrap();
    write_spec("B");
    make_plan();
    assert!(!Path::new(&progress).exists());
    fs::write(&progress, kept).unwrap();
    let refused = run(&["apply", &plan, "--sandbox"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("the progress of another plan"),
        "{}",
        text(&refused)
    );
    fs::remove_file(&progress).unwrap();
    std::os::unix::fs::symlink(&spec, &progress).unwrap();
    let refused = run(&["apply", &plan, "--sandbox"]);
    assert!(
        text(&refused).contains("it is a symbolic link"),
        "{}",
        text(&refused)
    );
    assert!(fs::read_to_string(&spec).unwrap().contains("update-config"));
}

#[test]
fn dry_run_of_apply_shows_the_plan_and_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("changes.yaml");
    fs::write(
        &spec,
        "- tool: update-config\n  arguments: {slug: pc-trial-split, name: A}\n",
    )
    .unwrap();
    let spec = spec.to_str().unwrap();
    let applied = command(&["apply", spec, "--sandbox", "--dry-run"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = text(&applied);
    assert!(applied.status.success(), "{shown}");
    assert!(
        shown.contains("update-config (update) `Trial Split`")
            && shown.contains("1 step; this is a dry run, and nothing was sent."),
        "{shown}"
    );
    for suffix in ["plan", "plan.progress", "plan.progress.lock"] {
        assert!(!Path::new(&format!("{spec}.{suffix}")).exists(), "{suffix}");
    }
}

/// A guardrail that is deleted by a request whose answer is lost. Portkey answers 403 for one that is not
/// there, also when the request is repeated.
async fn delete_guardrail(takes_effect: bool) -> Value {
    let deletes = Arc::new(AtomicUsize::new(0));
    let upstream = MockUpstream::start_by(move |request, _| {
        let forbidden = || http_response("403 Forbidden", "", r#"{"message":"no access"}"#);
        let is_gone = takes_effect && deletes.load(Ordering::SeqCst) > 0;
        let guardrail = json!({ "id": "guard_a", "slug": "guard_a", "name": "A" });
        match request.method.as_str() {
            "DELETE" => match deletes.fetch_add(1, Ordering::SeqCst) {
                0 => ResponseAction::Drop,
                _ => forbidden(),
            },
            _ if request.target.contains("/guardrails/guard_a") && is_gone => forbidden(),
            _ if request.target.contains("/guardrails/guard_a") => {
                json_response(&guardrail.to_string())
            }
            _ if request.target.contains("/guardrails") && !is_gone => {
                json_response(&json!({ "total": 1, "data": [guardrail] }).to_string())
            }
            _ => json_response(r#"{"total":0,"data":[]}"#),
        }
    })
    .await;
    let args = ["--base-url", &*upstream.base_url, "--api-key", KEY];
    let client = connect_everywhere(&args, &[]).await.remove(0);
    let steps = json!([{ "id": "gone", "tool": "delete-guardrail", "arguments": { "guardrail_id": "guard_a" } }]);
    let planned = plan(&client, &steps).await.unwrap();
    apply(&client, &planned).await.unwrap()
}

#[tokio::test]
async fn refusal_for_what_is_not_there_is_no_doubt() {
    let applied = delete_guardrail(true).await;
    assert_eq!(applied["status"], "applied", "{applied}");
    let applied = delete_guardrail(false).await;
    assert_eq!(applied["stopped"]["reason"], "failed", "{applied}");
    assert_eq!(applied["not_done"], json!(["gone"]), "{applied}");
}

#[tokio::test]
async fn step_without_a_change_is_said_and_skipped() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let steps = json!([
        { "id": "patch", "tool": "update-config",
            "arguments": { "slug": "pc-trial-split", "patch": { "name": "Trial Split" } } },
        { "id": "plain", "tool": "update-config",
            "arguments": { "slug": "pc-cached-answers", "status": "active" } },
        { "id": "other", "tool": "update-config",
            "arguments": { "slug": "pc-support-fallback", "patch": { "name": "Fallback ${patch.slug}" } } },
    ]);
    let version = async |slug: &str| {
        let config = client
            .call("get-config", json!({ "slug": slug }))
            .await
            .unwrap();
        config["version_id"].clone()
    };
    let before = (
        version("pc-trial-split").await,
        version("pc-cached-answers").await,
    );
    let planned = plan(&client, &steps).await.unwrap();
    for i in [0, 1] {
        assert_eq!(
            planned["steps"][i]["notes"],
            json!(["nothing to change"]),
            "{planned}"
        );
    }
    let applied = apply(&client, &planned).await.unwrap();
    assert_eq!(applied["status"], "applied", "{applied}");
    for i in [0, 1] {
        let answer = &applied["done"][i]["answer"];
        assert_eq!(answer, &json!({ "note": "nothing to change" }), "{applied}");
    }
    let after = (
        version("pc-trial-split").await,
        version("pc-cached-answers").await,
    );
    assert_eq!(after, before);
    let names = config_names(&client).await;
    assert!(
        names.contains(&"Fallback pc-trial-split".to_owned()),
        "{names:?}"
    );
}

/// A plan stands in a transcript of its caller, who may have taken its secrets from elsewhere.
#[tokio::test]
async fn secrets_of_a_plan_cannot_be_read_from_it() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let secret = "sk-planned-0123456789abcdefghijkl";
    let steps = json!([{ "tool": "update-integration",
        "arguments": { "slug": "openai-production", "key": secret } }]);
    let planned = plan(&client, &steps).await.unwrap();
    let token = planned["plan"].as_str().unwrap();
    assert!(
        !token.starts_with("plan_"),
        "the token is short enough: {token}"
    );
    for part in token.split('.') {
        for engine in [URL_SAFE_NO_PAD, STANDARD_NO_PAD] {
            let bytes = engine.decode(part).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            assert!(
                !text.contains(secret) && !text.contains("update-integration"),
                "{text}"
            );
        }
    }
    let applied = apply(&client, &planned).await.unwrap();
    assert_eq!(applied["status"], "applied", "{applied}");
}

/// A text that is no reference is shown as it is written, so that nobody takes it for one.
#[tokio::test]
async fn escaped_reference_is_shown_as_no_reference() {
    let client = connect_everywhere(&["--sandbox"], &[]).await.remove(0);
    let steps = json!([
        { "id": "a", "tool": "create-config", "arguments": { "name": "Plain $${a.slug}",
            "workspace_id": "ws-research", "config": { "retry": { "attempts": 3 } } } },
        { "id": "b", "tool": "update-config", "arguments": { "slug": "pc-trial-split",
            "patch": { "name": "$${a.slug} is ${a.slug}" } } },
    ]);
    let planned = plan(&client, &steps).await.unwrap();
    let names = [
        &planned["steps"][0]["changes"][0]["to"],
        &planned["steps"][1]["changes"][0]["to"],
    ];
    assert_eq!(
        names,
        ["Plain $${a.slug}", "$${a.slug} is ${a.slug}"],
        "{planned}"
    );
    let applied = apply(&client, &planned).await.unwrap();
    assert_eq!(applied["status"], "applied", "{applied}");
    let names = config_names(&client).await;
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("${a.slug} is pc-")),
        "{names:?}"
    );
}

/// A plan on a state that is not known could never be applied.
#[tokio::test]
async fn plan_is_not_made_while_the_state_cannot_be_read() {
    let is_down = Arc::new(AtomicUsize::new(1));
    let down = is_down.clone();
    let upstream = MockUpstream::start_by(move |request, _| {
        let is_down = down.load(Ordering::Relaxed);
        match request.method.as_str() {
            "GET" if is_down == 1 => {
                http_response("503 Service Unavailable", "", r#"{"message":"down"}"#)
            }
            "GET" if is_down == 2 => http_response("403 Forbidden", "", r#"{"message":"no"}"#),
            "GET" if request.target.contains("/configs/pc-a") => json_response(
                r#"{"id":"c1","slug":"pc-a","name":"A","status":"active","config":"{}"}"#,
            ),
            "GET" => json_response(r#"{"object":"list","total":0,"data":[]}"#),
            _ => json_response(r#"{"success":true,"data":{"id":"x","slug":"pc-x"}}"#),
        }
    })
    .await;
    let options = ["--base-url", &upstream.base_url, "--retries", "0"];
    let client = connect_everywhere(&options, &[("PORTKEY_API_KEY", KEY)])
        .await
        .remove(0);
    let update = json!([{ "id": "a", "tool": "update-config",
        "arguments": { "slug": "pc-a", "name": "B" } }]);
    let create = json!([{ "id": "a", "tool": "create-config",
        "arguments": { "name": "B", "workspace_id": "ws-a", "config": { "retry": { "attempts": 1 } } } }]);
    for steps in [&update, &create] {
        is_down.store(1, Ordering::Relaxed);
        let error = plan(&client, steps).await.unwrap_err();
        assert!(
            error.contains("steps.a")
                && error.contains("cannot be read now")
                && error.contains("503"),
            "{error}"
        );
        is_down.store(0, Ordering::Relaxed);
        let planned = plan(&client, steps).await.unwrap();
        // An outage before it is applied ends the call, and not the plan.
        is_down.store(1, Ordering::Relaxed);
        let error = apply(&client, &planned).await.unwrap_err();
        assert!(error.contains("cannot be read now"), "{error}");
        is_down.store(0, Ordering::Relaxed);
        let applied = apply(&client, &planned).await.unwrap();
        assert_eq!(applied["status"], "applied", "{applied}");
    }
    // A refusal is an answer. What it hides is in no plan, and a plan without it says so.
    is_down.store(2, Ordering::Relaxed);
    let planned = plan(&client, &update).await.unwrap();
    let note = planned["steps"][0]["notes"][0].as_str().unwrap();
    assert!(note.starts_with("the current state is not known"), "{note}");
    is_down.store(0, Ordering::Relaxed);
    let applied = apply(&client, &planned).await.unwrap();
    let error = applied["stopped"]["error"].as_str().unwrap();
    assert!(error.contains("make the plan again"), "{applied}");
}

/// What a policy redacts of a read is in no plan.
#[tokio::test]
async fn redacted_values_are_in_no_plan() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - { name: names, match: { tools: [get-config] }, redact: [name] }\n",
    );
    let client = connect_everywhere(&["--sandbox", "--policy", policy.path()], &[])
        .await
        .remove(0);
    let steps = json!([{ "id": "a", "tool": "update-config",
        "arguments": { "slug": "pc-trial-split", "patch": { "name": "B" } } }]);
    let planned = plan(&client, &steps).await.unwrap();
    assert_eq!(planned["steps"][0]["changes"][0]["to"], "B", "{planned}");
    assert!(!planned.to_string().contains("Trial Split"), "{planned}");
    let applied = apply(&client, &planned).await.unwrap();
    assert_eq!(applied["status"], "applied", "{applied}");
    assert!(!applied.to_string().contains("Trial Split"), "{applied}");
}

#[test]
fn broken_plan_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("changes.yaml");
    for (document, words) in [
        ("", "changes.yaml has no steps"),
        ("- tool: [", "changes.yaml is neither YAML nor JSON: "),
        ("- id: a\n  tool: [", "line 2"),
        ("steps: 3", "`steps`: is a number, and a list is expected"),
        ("tool: a", "`tool`: is no part of a plan"),
        ("- 3", "`steps[0]`: is a number, and no step"),
        ("- {id: a}", "`steps[0].tool`: is required"),
        (
            "- {tool: a, args: {}}",
            "`steps[0].args`: is no field of a step",
        ),
        (
            "- {tool: report-costs}",
            "`report-costs` is a workflow, which cannot be a step",
        ),
        (
            "- {tool: undo_change}",
            "`undo-change` is a tool of the history",
        ),
    ] {
        fs::write(&spec, document).unwrap();
        let refused = command(&["plan", spec.to_str().unwrap(), "--sandbox"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = text(&refused);
        assert_eq!(refused.status.code(), Some(1), "{document}: {text}");
        assert!(text.contains(words), "{document}: {text}");
        for word in ["struct", "expected a sequence", "<input>", "`document`"] {
            assert!(!text.contains(word), "{document}: {text}");
        }
    }
}

#[tokio::test]
async fn audit_log_has_each_write_of_a_plan_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let server = ServerProcess::http()
        .sandbox()
        .args(&["--audit-log", log.to_str().unwrap()])
        .start();
    let call = async |tool: &str, args: Value| {
        let (_, message) = send_request(call_request(&server, tool, args)).await;
        let text = message["result"]["content"][0]["text"].as_str();
        serde_json::from_str::<Value>(text.unwrap()).unwrap()
    };
    let writes = || {
        let entries = read_entries(&log).into_iter();
        let names = entries.filter(|entry| entry["outcome"] == "answered");
        let names = names.filter_map(|entry| entry["tool"].as_str().map(str::to_owned));
        let mut names: Vec<_> = names
            .filter(|name| name.starts_with("update-") || name.starts_with("create-"))
            .collect();
        names.sort();
        names
    };
    let planned = call("plan-changes", json!({ "steps": three_steps() })).await;
    assert_eq!(writes(), Vec::<String>::new());
    let apply = json!({ "plan": planned["plan"] });
    call("apply-plan", apply.clone()).await;
    let made = ["create-config", "update-config", "update-config"];
    assert_eq!(writes(), made);
    call("apply-plan", apply).await;
    assert_eq!(writes(), made, "a plan that is done sends nothing");
}

/// A rule that holds only for what an earlier step answered: nobody was asked about it with the plan.
#[tokio::test]
async fn step_that_needs_another_approval_when_it_is_sent_stops_the_plan() {
    let policy = PolicyFile::with(
        "version: \"1\"\nrules:\n  - name: late\n    action: approve\n    match: { tools: [update-config] }\n    \
         when: has(args.name) && args.name.startsWith(\"Before \") && !args.name.startsWith(\"Before 0000\")\n",
    );
    let args = ["--sandbox", "--policy", policy.path()];
    let client = connect_everywhere(&args, &[]).await.remove(0);
    let planned = plan(&client, &three_steps()).await.unwrap();
    let applied = apply(&client, &planned).await.unwrap();
    assert_eq!(
        (&applied["stopped"]["step"], &applied["stopped"]["reason"]),
        (&json!("split"), &json!("failed")),
        "{applied}"
    );
    let error = applied["stopped"]["error"].as_str().unwrap();
    assert!(
        error.contains("needs an approval that the plan did not"),
        "{applied}"
    );
    let names = config_names(&client).await;
    assert!(names.contains(&"Trial Split".to_owned()), "{names:?}");
}

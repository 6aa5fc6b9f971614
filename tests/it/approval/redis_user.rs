//! The rights of the Redis user in docs/deployment.md suffice for everything that replicas share.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    approvals::{AdminFolder, SLUG, TOOL, strs, ticket_id},
    mcp_client::McpClient,
    programs::is_missing,
    redis::RedisServer,
    server::ServerProcess,
};
use portkey_mcp::security::signed_state::Keyring;

const POLICY: &str = "
version: '1'
rules:
  - { name: few, match: { tools: [list-labels] }, rate_limit: 1/hour }
  - { name: wary, action: deny, match: { tools: [create-label] }, when: tainted }
";

/// Calls a tool in a session and returns its result.
async fn call_result(caller: &McpClient, tool: &str, args: Value) -> Value {
    let answer = caller
        .call("tools/call", json!({ "name": tool, "arguments": args }))
        .await;
    answer.message["result"].clone()
}

#[tokio::test]
async fn documented_redis_user_has_every_required_right() {
    struct Case {
        slug: &'static str,
        decision: &'static str,
        is_done: bool,
    }

    if is_missing("redis-server") {
        return;
    }
    let (redis, sandbox) = (
        RedisServer::documented(),
        ServerProcess::sandbox_api().start(),
    );
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let keys = path("state.keys");
    let url = path("redis-url");
    let policy = path("policy.yaml");
    fs::write(&keys, Keyring::generate_line("k1").unwrap()).unwrap();
    fs::write(&url, redis.documented_url(0)).unwrap();
    fs::write(&policy, POLICY).unwrap();
    let admins = [AdminFolder::new(), AdminFolder::new()];
    let servers = admins.each_ref().map(|admin| {
        ServerProcess::http()
            .auth("key")
            .upstream(&sandbox.url)
            .args(&["--state-key-file", &keys, "--redis-url-file", &url])
            .args(&["--policy", &policy, "--max-result-bytes", "2000"])
            .args(&strs(&admin.options()))
            .start()
    });
    let [first, second] = servers;

    // A session continues at the other replica.
    let mut here = McpClient::new(&first.url, "pk-alice");
    here.initialize().await;
    let there = here.at(&second.url);
    assert!(there.lists_tools().await);

    // A rate limit of the policy counts across replicas.
    assert_eq!(
        call_result(&here, "list-labels", json!({})).await["isError"],
        false
    );
    let limited = call_result(&there, "list-labels", json!({})).await;
    assert!(
        limited.to_string().contains("`few` limits this"),
        "{limited}"
    );

    // A large result is read at the other replica.
    let large = call_result(&here, "list-all-integrations", json!({})).await;
    let handle = large["structuredContent"]["truncated"]["handle"].clone();
    assert!(handle.is_string(), "{large}");
    let part = call_result(&there, "read-result", json!({ "handle": handle })).await;
    assert_eq!(part["isError"], false, "{part}");

    // Tickets are decided at the other replica.
    for Case {
        slug,
        decision,
        is_done,
    } in [
        Case {
            slug: SLUG,
            decision: "approve",
            is_done: true,
        },
        Case {
            slug: "anthropic",
            decision: "deny",
            is_done: false,
        },
    ] {
        let asked = call_result(&here, TOOL, json!({ "slug": slug })).await;
        let id = ticket_id(asked["content"][0]["text"].as_str().unwrap());
        let (good, list, log) = admins[1].run_approvals(&["list"]);
        assert!(good && list.contains(&id), "{list}{log}");
        let (good, shown, log) = admins[1].run_approvals(&["show", &id]);
        assert!(good && shown.contains(slug), "{shown}{log}");
        let (good, _, log) = admins[1].run_approvals(&[decision, &id]);
        assert!(good, "{log}");
        let done = call_result(&here, TOOL, json!({ "slug": slug })).await;
        assert_eq!(done["isError"], !is_done, "{done}");
    }

    // The taint of a session is known at the other replica.
    let args = json!({ "workspace_id": "ws-support-bot", "page_size": 1 });
    let listed = call_result(&here, "list-prompts", args).await;
    let prompt = &listed["structuredContent"]["data"][0];
    let read = call_result(&here, "get-prompt", json!({ "prompt_id": prompt["slug"] })).await;
    assert_eq!(read["isError"], false, "{read}");
    let denied = call_result(&there, "create-label", json!({ "name": "a" })).await;
    assert!(denied.to_string().contains("`wary` denies"), "{denied}");

    assert_eq!(here.end().await.status.as_u16(), 204);
    for server in [first, second] {
        let (_, log) = server.terminate();
        assert!(
            !log.contains("share nothing") && !log.contains("lacks a right"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn missing_redis_right_is_reported_to_the_approver() {
    if is_missing("redis-server") {
        return;
    }
    let rights = crate::support::redis::documented_rights().replace(" +get ", " ");
    let redis = RedisServer::with_user(&rights);
    let admin = AdminFolder::new();
    let url = redis.documented_url(0);
    let keys = admin.file_path() + ".keys";
    fs::write(&keys, Keyring::generate_line("k1").unwrap()).unwrap();
    let server = ServerProcess::http()
        .sandbox()
        .args(&["--redis-url", &url, "--state-key-file", &keys])
        .args(&strs(&admin.options()))
        .start();
    let (good, _, log) = admin.run_approvals(&["list"]);
    assert!(!good && log.contains("does not let its user run"), "{log}");
    assert!(
        log.contains("+get ") && log.contains("docs/deployment.md"),
        "{log}"
    );
    let (_, log) = server.terminate();
    assert!(!log.contains("share nothing"), "{log}");
}

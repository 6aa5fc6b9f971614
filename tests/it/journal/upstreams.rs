//! A history that servers of several installations of Portkey share: each sees and undoes its own.

use std::path::Path;

use serde_json::{Value, json};

use super::{WITH_JOURNAL, call};
use crate::support::{process::command, server::ServerProcess};

const CONFIG: &str = "pc-support-fallback";
const KEY: &str = "sandbox-key-of-both";

/// Two installations, each behind a server of its own, which share a journal.
struct TwoInstallations {
    sandboxes: [ServerProcess; 2],
    servers: [ServerProcess; 2],
    folder: tempfile::TempDir,
}

impl TwoInstallations {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandboxes = [(); 2].map(|()| ServerProcess::sandbox_api().start());
        let journal = folder.path().join("journal.db");
        let servers = [0, 1].map(|at| {
            ServerProcess::http()
                .upstream(&sandboxes[at].url)
                .api_key(KEY)
                .variables(WITH_JOURNAL)
                .args(&["--journal", journal.to_str().unwrap()])
                .start()
        });
        Self {
            sandboxes,
            servers,
            folder,
        }
    }

    async fn answer(&self, at: usize, tool: &str, args: Value) -> Value {
        let (failed, text) = call(&self.servers[at], tool, args).await;
        assert!(!failed, "{tool}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn error(&self, at: usize, tool: &str, args: Value) -> String {
        let (failed, text) = call(&self.servers[at], tool, args).await;
        assert!(failed, "{tool}: {text}");
        text
    }

    async fn name(&self, at: usize) -> Value {
        let config = self.answer(at, "get-config", json!({ "slug": CONFIG }));
        config.await["name"].clone()
    }

    async fn list(&self, at: usize) -> Vec<Value> {
        let listed = self.answer(at, "list-changes", json!({})).await;
        listed["changes"].as_array().unwrap().clone()
    }

    fn journal(&self) -> std::path::PathBuf {
        self.folder.path().join("journal.db")
    }

    /// Runs a command of the shell at an installation.
    fn run(&self, at: usize, args: &[&str]) -> String {
        let output = command(args)
            .envs(WITH_JOURNAL.iter().copied())
            .args(["--api-key", KEY, "--base-url", &self.sandboxes[at].url])
            .args(["--journal", self.journal().to_str().unwrap()])
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }
}

fn rename(name: &str) -> Value {
    json!({ "slug": CONFIG, "name": name })
}

#[tokio::test]
async fn change_of_one_installation_is_not_undone_at_another() {
    let both = TwoInstallations::start();
    for at in [0, 1] {
        both.answer(at, "update-config", rename("Oops")).await;
    }
    let of_first = both.list(0).await;
    assert_eq!(of_first.len(), 1, "{of_first:?}");
    assert_eq!(of_first[0].get("upstream"), None);
    let id = json!({ "id": of_first[0]["id"] });
    assert_ne!(both.list(1).await[0]["id"], id["id"]);

    for args in [id.clone(), json!({ "id": id["id"], "force": true })] {
        let refused = both.error(1, "undo-change", args).await;
        for url in both.sandboxes.iter().map(|sandbox| &sandbox.url) {
            assert!(refused.contains(url.as_str()), "{refused}");
        }
    }
    assert_eq!(both.name(1).await, "Oops");
    let shown = both.answer(1, "get-change", id.clone()).await;
    assert_eq!(shown["upstream"], both.sandboxes[0].url);

    let undone = both.answer(0, "undo-change", id.clone()).await;
    assert_eq!(undone["undid"], id["id"]);
    assert_ne!(both.name(0).await, "Oops");
}

#[tokio::test]
async fn shell_lists_other_installations_with_their_address() {
    let both = TwoInstallations::start();
    both.answer(0, "update-config", rename("Oops")).await;
    let own = both.run(1, &["changes", "list"]);
    assert!(
        own.contains("--all shows those of all keys and addresses"),
        "{own}"
    );
    let all = both.run(1, &["changes", "list", "--all"]);
    let place = format!("update-config  slug={CONFIG}  at {}", both.sandboxes[0].url);
    assert!(all.contains(&place), "{all}");
    let here = both.run(0, &["changes", "list", "--all"]);
    assert!(!here.contains("  at http"), "{here}");
}

#[tokio::test]
async fn change_without_an_address_is_undone_only_by_force() {
    let both = TwoInstallations::start();
    both.answer(0, "update-config", rename("Oops")).await;
    let older = rusqlite::Connection::open(both.journal()).unwrap();
    older
        .execute_batch("UPDATE changes SET upstream = NULL")
        .unwrap();
    let listed = both.list(0).await;
    let id = listed[0]["id"].clone();
    let refused = both.error(0, "undo-change", json!({ "id": id })).await;
    assert!(refused.contains("did not keep the address"), "{refused}");
    let forced = json!({ "id": id, "force": true });
    both.answer(0, "undo-change", forced).await;
    assert_ne!(both.name(0).await, "Oops");
}

#[tokio::test]
async fn plan_of_one_installation_is_not_applied_at_another() {
    let both = TwoInstallations::start();
    let path = |name: &str| both.folder.path().join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    // What it creates is not there at either.
    std::fs::write(
        path("changes.yaml"),
        "- tool: create-label\n  arguments: {name: of-a-plan, workspace_id: ws-shared}\n",
    )
    .unwrap();
    let (changes, plan) = (text(&path("changes.yaml")), text(&path("changes.plan")));
    both.run(0, &["plan", &changes, "--output", &plan]);
    let refused = both.run(1, &["apply", &plan]);
    let expected = format!(
        "was made for {}, and this server calls {}",
        both.sandboxes[0].url, both.sandboxes[1].url
    );
    assert!(refused.contains(&expected), "{refused}");
    assert!(both.list(1).await.is_empty());
    let applied = both.run(0, &["apply", &plan]);
    assert!(applied.contains("done"), "{applied}");
}

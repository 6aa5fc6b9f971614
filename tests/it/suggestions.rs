//! Suggestions for an unknown tool: tools that match its verb, and no destructive tool for another
//! verb.

use portkey_api::catalog::Catalog;
use portkey_mcp::auth::principal::ToolSelection;
use portkey_operation::Effect;
use portkey_policy::Policy;
use rmcp::{ServiceError, model::CallToolRequestParams};
use serde_json::json;

use crate::support::{
    form_client::{FormClient, connect},
    process::{command, run_cli},
};

/// A typical guess, and the tools of which one must be named first.
struct Guess {
    name: &'static str,
    first: &'static [&'static str],
}

const fn guess(name: &'static str, first: &'static [&'static str]) -> Guess {
    Guess { name, first }
}

const GUESSES: &[Guess] = &[
    guess(
        "list-logs",
        &["list-audit-logs", "list-all-log-exports", "get-log"],
    ),
    guess("create-user", &["invite-user"]),
    guess("delete-member", &["remove-workspace-member"]),
    guess("get-logs", &["get-log"]),
    guess("archive-workspace", &["update-workspace"]),
    guess("add-key", &["create-api-key", "create-virtual-key"]),
    guess("create-key", &["create-api-key", "create-virtual-key"]),
    guess("list-models", &["list-integration-models"]),
    guess("update-budget", &["update-usage-limits-policy"]),
    guess("create-budget", &["create-usage-limits-policy"]),
    guess("delete-key", &["delete-api-key", "delete-virtual-key"]),
    guess("add-member", &["add-workspace-member"]),
    guess("list-members", &["list-workspace-members"]),
    guess("add-user", &["invite-user", "add-workspace-member"]),
    guess("delete-member-from-workspace", &["remove-workspace-member"]),
    guess("delete-prompt-version", &[]),
    guess("rename-workspace", &["update-workspace"]),
    guess("get-costs", &["get-cost-graph"]),
    guess("show-workspaces", &["list-all-workspaces"]),
    guess("edit-config", &["update-config"]),
    guess("new-prompt", &["create-prompt"]),
    guess("listApiKeys", &["list-all-api-keys"]),
    guess("remove_webhook", &[]),
    guess("revoke-key", &["delete-api-key", "delete-virtual-key"]),
    guess("get-integratoin", &["get-integration"]),
    guess("get_server", &["get-mcp-server"]),
];

/// Returns the tools named in a text.
fn named_tools(text: &str) -> Vec<&str> {
    let catalog = Catalog::full();
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| catalog.find(name).is_ok()).collect()
}

fn assert_suggestion(guess: &Guess, way: &str, text: &str) {
    let named = named_tools(text);
    match guess.first {
        [] => assert_eq!(named, Vec::<&str>::new(), "{way}, {}: {text}", guess.name),
        first => {
            let names_first = named.first().is_some_and(|name| first.contains(name));
            assert!(names_first, "{way}, {}: {text}", guess.name);
        }
    }
    let verb = guess.name.split(['-', '_']).next().unwrap();
    let deletes = ["delete", "remove", "revoke"].contains(&verb);
    let catalog = Catalog::full();
    for name in named {
        let operation = catalog.find(name).unwrap().operation;
        let is_delete = operation.effect() == Effect::Delete;
        assert_eq!(is_delete, deletes, "{way}, {}: {text}", guess.name);
    }
}

#[tokio::test]
async fn guessed_names_suggest_tools_of_the_same_effect() {
    for surface in ["operations", "compact"] {
        let options = ["--surface", surface];
        let server = connect((false, true), &FormClient::new(false), &options).await;
        for guess in GUESSES {
            let call = CallToolRequestParams::new(guess.name);
            let Err(ServiceError::McpError(error)) = server.client.call_tool(call).await else {
                panic!("{surface}: there is {}", guess.name);
            };
            assert_suggestion(guess, surface, &error.message);
            let by = json!({ "operation": guess.name });
            let (done, text) = server.call_text("describe-operation", by).await;
            assert!(!done);
            let text = text.replace("`search-operations`", "");
            assert_suggestion(guess, "describe-operation", &text);
        }
        server.client.cancel().await.unwrap();
    }
}

#[test]
fn call_command_suggests_the_same_tools() {
    for guess in GUESSES.iter().take(5) {
        let (done, _, log) = run_cli(&["call", guess.name, "--sandbox"]);
        assert!(!done);
        assert_suggestion(guess, "shell", &log);
    }
}

/// Tools that a caller cannot see are not suggested.
#[test]
fn unavailable_tools_are_not_suggested() {
    for (name, options) in [
        ("create-user", &["--read-only"][..]),
        ("delete-member", &["--no-delete"]),
        ("update-config-s", &["--exclude-tools", "update-config"]),
    ] {
        let args = [&["call", name, "--sandbox"], options].concat();
        let (done, _, log) = run_cli(&args);
        assert!(!done && log.contains("there is no tool"), "{log}");
        let hidden = ["invite-user", "remove-workspace-member", "update-config"];
        assert!(
            !named_tools(&log).iter().any(|name| hidden.contains(name)),
            "{log}"
        );
    }
}

/// Settings and policies use the same suggestions.
#[test]
fn settings_and_policies_suggest_tools_of_the_same_effect() {
    for guess in GUESSES {
        let known = Catalog::operations();
        let Err(error) = ToolSelection::from_patterns([guess.name], known) else {
            continue;
        };
        let message = error.to_string();
        for name in named_tools(&message) {
            let deletes = Catalog::full().find(name).unwrap().operation.effect() == Effect::Delete;
            let verb = guess.name.split(['-', '_']).next().unwrap();
            assert_eq!(
                deletes,
                ["delete", "remove", "revoke"].contains(&verb),
                "{message}"
            );
        }
        let rule = format!(
            "version: '1'\nrules: [{{ name: r, action: deny, match: {{ tools: [{}] }} }}]",
            guess.name
        );
        let policy = Policy::parse("t", &rule, &Catalog::full()).unwrap();
        let warning = policy.warnings().concat();
        for name in named_tools(&warning) {
            let deletes = Catalog::full().find(name).unwrap().operation.effect() == Effect::Delete;
            let verb = guess.name.split(['-', '_']).next().unwrap();
            assert_eq!(
                deletes,
                ["delete", "remove", "revoke"].contains(&verb),
                "{warning}"
            );
        }
    }
    let message = ToolSelection::from_patterns(["delete-member"], Catalog::operations())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("did you mean `remove-workspace-member`?"),
        "{message}"
    );
}

/// Runs a command for which the variable that switches the journal off in tests does not count.
fn run_with_journal(args: &[&str]) -> (bool, String, String) {
    let output = command(args)
        .env("PORTKEY_MCP_NO_JOURNAL", "false")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn misspelt_workflows_plans_and_history_are_suggested_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    let journal = journal.to_str().unwrap();
    for (name, meant) in [
        ("report-cost", "report-costs"),
        ("find-usage", "find-usages"),
        ("promote-promt", "promote-prompt"),
        ("undo-chang", "undo-change"),
        ("list-change", "list-changes"),
        ("plan-change", "plan-changes"),
        ("aply-plan", "apply-plan"),
    ] {
        let (ok, _, log) = run_with_journal(&["call", name, "--sandbox", "--journal", journal]);
        assert!(
            !ok && log.contains(&format!("did you mean `{meant}`?")),
            "{name}: {log}"
        );
    }
    for (words, found) in [
        ("undo", "undo-change"),
        ("who uses", "find-usages"),
        ("report costs", "report-costs"),
        ("plan changes", "plan-changes"),
    ] {
        let args = [
            "tools",
            "--sandbox",
            "--journal",
            journal,
            "--search",
            words,
        ];
        let (ok, out, _) = run_with_journal(&args);
        let is_found = out.lines().any(|line| line.starts_with(found));
        assert!(ok && is_found, "{words}: {out}");
    }
    let (_, out, _) = run_with_journal(&["tools", "--sandbox", "--journal", journal]);
    for name in [
        "list-changes",
        "get-change",
        "undo-change",
        "plan-changes",
        "apply-plan",
    ] {
        assert!(
            out.lines().any(|line| line.starts_with(name)),
            "{name}: {out}"
        );
    }
    let (_, out, _) = run_cli(&["tools", "--sandbox"]);
    assert!(!out.contains("undo-change"), "{out}");
}

/// The names that policies and plans know as no operations are those of the server's own tools.
#[test]
fn own_tools_are_known_by_name() {
    let known: Vec<_> = portkey_api::catalog::own_tools().collect();
    let tools = portkey_mcp::mcp::surface::builtin_tools().iter();
    let names: Vec<_> = tools.map(|tool| tool.operation.name()).collect();
    assert_eq!(known, names);
}

//! Random sequences of updates, undone in reverse, restore the state.

use proptest::{prelude::*, sample::select, test_runner::TestRunner};
use serde_json::{Value, json};

use super::HistoryServer;

/// Number of sequences.
const SEQUENCES: u32 = 12;

/// An update of one of the resources, by a plain call or a patch.
fn any_update() -> impl Strategy<Value = (&'static str, Value)> {
    let config = |change: Value| {
        (
            "update-config",
            json!({ "slug": "pc-support-fallback", "patch": change }),
        )
    };
    let workspace = |change: Value| {
        let mut args = json!({ "workspace_id": "ws-research" });
        args.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        ("update-workspace", args)
    };
    let number = 1..6u32;
    let word = select(vec!["red", "green", "blue", "A long\ntext of lines"]);
    prop_oneof![
        number
            .clone()
            .prop_map(move |n| config(json!({ "config": { "retry": { "attempts": n } } }))),
        word.clone()
            .prop_map(move |word| config(json!({ "name": word }))),
        number
            .clone()
            .prop_map(move |n| config(json!({ "config": { "request_timeout": n * 1000 } }))),
        Just(config(json!({ "config": { "request_timeout": null } }))),
        Just(config(
            json!({ "config": { "cache": { "mode": "simple", "max_age": 60 } } })
        )),
        Just((
            "update-config",
            json!({ "slug": "pc-support-fallback", "config": { "provider": "@openai-production" } })
        )),
        word.clone()
            .prop_map(move |word| workspace(json!({ "description": word }))),
        word.prop_map(move |word| workspace(
            json!({ "defaults": { "metadata": { "team": word } } })
        )),
        number.prop_map(move |n| workspace(json!({ "name": format!("Research {n}") }))),
    ]
}

/// Removes what every write changes.
fn without_times(mut state: Value) -> Value {
    if let Some(fields) = state.as_object_mut() {
        for name in [
            "last_updated_at",
            "updated_at",
            "version_id",
            "owner_id",
            "updated_by",
        ] {
            fields.remove(name);
        }
    }
    state
}

#[test]
fn random_updates_undone_in_reverse_restore_the_state() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = HistoryServer::start(&[]);
    let read = || {
        runtime.block_on(async {
            let config = server.answer("get-config", json!({ "slug": "pc-support-fallback" }));
            let workspace =
                server.answer("get-workspace", json!({ "workspace_id": "ws-research" }));
            (without_times(config.await), without_times(workspace.await))
        })
    };
    let mut runner = TestRunner::new(ProptestConfig {
        cases: SEQUENCES,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    });
    let sequences = proptest::collection::vec(any_update(), 1..6);
    let outcome = runner.run(&sequences, |updates| {
        let before = read();
        let undone = runtime.block_on(async {
            let mut made = 0;
            for (tool, args) in &updates {
                let (failed, text) = server.call(tool, args.clone()).await;
                prop_assert!(!failed, "{tool} {args}: {text}");
                // A patch that changes nothing sends nothing.
                made += usize::from(!text.contains("Nothing was sent"));
            }
            if made == 0 {
                return Ok(());
            }
            let changes = server.changes(json!({ "limit": made })).await;
            for change in changes {
                let (failed, text) = server
                    .call("undo-change", json!({ "id": change["id"] }))
                    .await;
                prop_assert!(!failed, "{change}: {text}");
            }
            Ok(())
        });
        undone?;
        prop_assert_eq!(read(), before);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Returns the labels without what a new one of the same fields has anew, and their ids.
async fn labels(server: &HistoryServer) -> Vec<(String, Value, String)> {
    let listed = server
        .answer("list-labels", json!({ "page_size": 100 }))
        .await;
    let rows = listed["data"].as_array().unwrap();
    let mut labels: Vec<_> = rows
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let fields = json!([row["description"], row["color_code"], row["workspace_id"]]);
            (text("name"), fields, text("id"))
        })
        .collect();
    labels.sort_by(|one, other| one.0.cmp(&other.0));
    labels
}

/// Creations, deletions and updates of labels. What was deleted comes back under another id, so that only
/// labels that the sequence did not create are deleted.
#[test]
fn random_creations_and_deletions_undone_in_reverse_restore_the_state() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = HistoryServer::start(&[]);
    let created = |n: usize| format!("new-{n}");
    let kept = |n: usize| format!("kept-{n}");
    runtime.block_on(async {
        for n in 0..3 {
            let args = json!({ "name": kept(n), "description": "Kept", "color_code": "#00ff00" });
            server.answer("create-label", args).await;
        }
    });
    let state = async || {
        let labels = labels(&server).await;
        let fields = labels.into_iter().map(|(name, fields, _)| (name, fields));
        fields.collect::<Vec<_>>()
    };
    let id_of = async |name: &str| {
        let found = labels(&server)
            .await
            .into_iter()
            .find(|label| label.0 == name);
        found.map(|(_, _, id)| id)
    };
    let mut runner = TestRunner::new(ProptestConfig {
        cases: SEQUENCES,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    });
    let sequences = proptest::collection::vec((0..3u8, 0..3usize), 1..6);
    let outcome = runner.run(&sequences, |steps| {
        let undone = runtime.block_on(async {
            let before = state().await;
            let mut made = 0;
            for (action, n) in &steps {
                let call = match action {
                    0 if id_of(&created(*n)).await.is_none() => Some((
                        "create-label",
                        json!({ "name": created(*n), "description": "New", "color_code": "#ff0000" }),
                    )),
                    1 => id_of(&kept(*n))
                        .await
                        .map(|id| ("delete-label", json!({ "label_id": id }))),
                    2 => id_of(&created(*n)).await.map(|id| {
                        (
                            "update-label",
                            json!({ "label_id": id, "description": format!("{made}") }),
                        )
                    }),
                    _ => None,
                };
                if let Some((tool, args)) = call {
                    let (failed, text) = server.call(tool, args).await;
                    prop_assert!(!failed, "{tool}: {text}");
                    made += 1;
                }
            }
            if made > 0 {
                for change in server.changes(json!({ "limit": made })).await {
                    let id = json!({ "id": change["id"] });
                    let (failed, text) = server.call("undo-change", id).await;
                    prop_assert!(!failed, "{change}: {text}");
                }
            }
            prop_assert_eq!(state().await, before);
            Ok(())
        });
        undone?;
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

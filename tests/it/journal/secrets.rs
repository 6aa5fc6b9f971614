//! No secret gets into the history, and an undo names each one that it cannot restore.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use portkey_api::catalog::Catalog;
use portkey_operation::{Effect, Operation};
use serde_json::{Map, Value, json};

use super::{HistoryServer, WITH_JOURNAL};
use crate::support::{
    planted_secrets::random_secrets,
    requests::{call_request, send_request},
    server::ServerProcess,
    upstream::{MockUpstream, ResponseAction, http_response, json_response},
};

/// A text of each answer that is no secret.
const VISIBLE: &str = "visible-text-of-the-state";

/// Returns an object with a secret under names that say so, at several depths.
fn object_with_secret(secret: &str) -> Value {
    json!({
        "api_key": secret,
        "custom_headers": { "Authorization": format!("Bearer {secret}") },
        "list": [{ "password": secret, "deeper": { "client_secret": secret } }],
    })
}

/// Puts a secret at a declared path such as `data[].key`, into objects that are there already.
fn plant_at(document: &mut Value, path: &str, secret: &str) {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, is_list) = match step.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (step, false),
    };
    let name = match name.trim_start_matches('/') {
        "*" => "ANY_NAME",
        name => name,
    };
    let Value::Object(fields) = document else {
        return;
    };
    let place = fields.entry(name).or_insert(Value::Null);
    let is_text =
        name.contains("key") || name.contains("link") || name.contains("url") || name == "ANY_NAME";
    let leaf = match is_text {
        true => json!(secret),
        false => object_with_secret(secret),
    };
    match (rest, is_list) {
        ("", false) => *place = leaf,
        ("", true) => *place = json!([leaf]),
        (rest, false) => {
            if !place.is_object() {
                *place = json!({});
            }
            plant_at(place, rest, secret);
        }
        (rest, true) => {
            if !place.is_array() {
                *place = json!([{}]);
            }
            plant_at(&mut place[0], rest, secret);
        }
    }
}

/// Returns the answer of an operation with a secret in each of its declared secret fields.
fn answer_with_secret(operation: Option<&Operation>, secret: &str) -> Value {
    let mut answer = json!({
        "id": "r-1", "slug": "r-1", "name": VISIBLE, "status": "active",
        "nested": object_with_secret(secret),
    });
    let declared = operation.into_iter().flat_map(|operation| {
        let masked = operation.secret_fields().iter();
        masked.chain(operation.one_time_secrets())
    });
    for path in declared {
        plant_at(&mut answer, path, secret);
    }
    answer
}

/// Finds the operation that a request is for.
fn find_operation<'a>(catalog: &'a Catalog, method: &str, target: &str) -> Option<&'a Operation> {
    let path = target.split('?').next().unwrap_or_default();
    let path = ["/v1/", "/v2/", "/v0.1/"]
        .iter()
        .find_map(|base| path.strip_prefix(base))
        .unwrap_or(path.trim_start_matches('/'));
    let given: Vec<_> = path.split('/').collect();
    let matching = catalog
        .iter()
        .map(|entry| entry.operation)
        .filter(|operation| {
            let own: Vec<_> = operation
                .path()
                .trim_start_matches('/')
                .split('/')
                .collect();
            operation.method().as_str() == method
                && own.len() == given.len()
                && own
                    .iter()
                    .zip(&given)
                    .all(|(own, given)| own.starts_with('{') || own == given)
        });
    matching.min_by_key(|operation| operation.placeholders().count())
}

/// Adds each secret argument of a schema that a document lacks.
fn add_secrets(schema: &Value, document: &mut Value, secret: &str) {
    let (Some(properties), Value::Object(fields)) = (schema["properties"].as_object(), document)
    else {
        return;
    };
    for (name, property) in properties {
        if property.get("x-secret").is_some() {
            let is_object = property["type"] == "object" || property.get("properties").is_some();
            let planted = match is_object {
                true => object_with_secret(secret),
                false => json!(secret),
            };
            fields.entry(name.clone()).or_insert(planted);
        } else if let Some(inner) = fields.get_mut(name) {
            add_secrets(property, inner, secret);
            for item in inner.as_array_mut().into_iter().flatten() {
                add_secrets(&property["items"], item, secret);
            }
        }
    }
}

/// Returns all example calls of all writes, as they are, with the secret in each secret field that
/// they have, and with those that they lack.
fn writes_with_secret(catalog: &Catalog, secret: &str) -> Vec<(&'static str, Value)> {
    let mut calls = Vec::new();
    for entry in catalog.iter() {
        if entry.operation.effect() == Effect::Read {
            continue;
        }
        let tool = entry.operation.name();
        let examples = fs::read_to_string(format!("tests/data/calls/{tool}.json")).unwrap();
        let examples: Vec<Value> = serde_json::from_str(&examples).unwrap();
        for example in examples {
            let mut planted: Map<String, Value> = example["arguments"].as_object().unwrap().clone();
            let plant = |_: &dyn std::fmt::Display, _, value: &mut Value| {
                *value = match value.is_object() {
                    true => object_with_secret(secret),
                    false => json!(secret),
                };
                Ok::<_, ()>(())
            };
            entry.compiled().visit_secrets(&mut planted, plant).unwrap();
            let planted = Value::Object(planted);
            let mut more = planted.clone();
            add_secrets(entry.compiled().full_schema(), &mut more, secret);
            if more != planted {
                calls.push((tool, more));
            }
            calls.push((tool, planted));
        }
    }
    calls
}

/// Returns all bytes of the files in a folder.
fn read_folder(folder: &Path) -> Vec<u8> {
    let files = fs::read_dir(folder).unwrap();
    files
        .flat_map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Makes a call, which may fail; returns the text of its answer.
async fn send(server: &ServerProcess, tool: &str, args: Value) -> String {
    let (_, message) = send_request(call_request(server, tool, args)).await;
    let text = message["result"]["content"][0]["text"].as_str();
    text.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn no_declared_secret_is_in_the_file() {
    let catalog = Arc::new(Catalog::full());
    for secret in random_secrets(2) {
        let refuses = Arc::new(Mutex::new(false));
        let upstream = {
            let (catalog, secret, refuses) = (catalog.clone(), secret.clone(), refuses.clone());
            MockUpstream::start_by(move |request, _| -> ResponseAction {
                let operation = find_operation(&catalog, &request.method, &request.target);
                let answer = answer_with_secret(operation, &secret);
                match request.method != "GET" && *refuses.lock().unwrap() {
                    false => json_response(&answer.to_string()),
                    true => http_response(
                        "400 Bad Request",
                        "content-type: application/json\r\n",
                        &json!({ "success": false, "data": { "message": format!("wrong key {secret}") } })
                            .to_string(),
                    ),
                }
            })
            .await
        };
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let server = ServerProcess::http()
            .upstream(&upstream.base_url)
            .variables(WITH_JOURNAL)
            .variables(&[("PORTKEY_API_KEY", &secret), ("ENKRYPT_API_KEY", &secret)])
            .args(&["--preview", "--retries", "0"])
            .args(&[
                "--enkrypt-base-url",
                upstream.base_url.trim_end_matches("/v1"),
            ])
            .args(&["--journal", journal.to_str().unwrap()])
            .start();
        let calls = writes_with_secret(&catalog, &secret);
        assert!(calls.len() > 150, "{}", calls.len());
        for (at, (tool, args)) in calls.into_iter().enumerate() {
            *refuses.lock().unwrap() = at % 5 == 4;
            send(&server, tool, args.clone()).await;
            if at % 3 == 0 {
                let steps = json!({ "steps": [{ "id": "one", "tool": tool, "arguments": args }] });
                let planned = send(&server, "plan-changes", steps).await;
                let planned: Value = serde_json::from_str(&planned).unwrap_or_default();
                send(&server, "apply-plan", json!({ "plan": planned["plan"] })).await;
            }
        }
        let kept = rusqlite::Connection::open(&journal).unwrap();
        let mut tools = BTreeSet::new();
        let mut rows = kept.prepare("SELECT operation FROM changes").unwrap();
        let names = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        tools.extend(names.map(Result::unwrap));
        // What is missing is refused by its own examples, or makes no request.
        assert!(tools.len() > 80, "{}: {tools:?}", tools.len());
        let bytes = read_folder(folder.path());
        assert!(contains(&bytes, VISIBLE), "no state is kept");
        if contains(&bytes, &secret) {
            let mut found = Vec::new();
            let columns = ["head", "detail", "result", "answer", "targets", "caller"];
            for column in columns {
                let query = format!("SELECT operation FROM changes WHERE instr({column}, ?1) > 0");
                let mut rows = kept.prepare(&query).unwrap();
                let names = rows
                    .query_map([&secret], |row| row.get::<_, String>(0))
                    .unwrap();
                found.extend(names.map(|name| format!("{column} of {}", name.unwrap())));
            }
            panic!("{secret} is in {found:?}");
        }
    }
}

/// A change of a secret, and what its undo says.
struct SecretChange {
    tool: &'static str,
    args: Value,
    /// Names of what is not restored, in the answer of the undo or in its error.
    named: &'static [&'static str],
    /// True if the rest of the change is undone.
    is_undone: bool,
}

#[tokio::test]
async fn undo_names_each_secret_that_it_cannot_restore() {
    let server = HistoryServer::start(&[]);
    let first = async |tool: &str, args: Value, field: &str| -> Value {
        let listed = server.answer(tool, args).await;
        let rows = listed["data"].as_array().unwrap();
        rows[0][field].clone()
    };
    let mcp = first("list-mcp-integrations", json!({}), "id").await;
    let reference = json!("research-providers");
    let virtual_key = first("list-all-virtual-keys", json!({}), "slug").await;
    let key = first(
        "list-all-api-keys",
        json!({ "workspace_id": "ws-shared" }),
        "id",
    )
    .await;
    let change = |tool, args, named, is_undone| SecretChange {
        tool,
        args,
        named,
        is_undone,
    };
    const NEW: &str = "sk-new-secret-0123456789abcdef";
    let changes = [
        change(
            "update-integration",
            json!({ "slug": "openai-production", "key": NEW }),
            &["key"][..],
            false,
        ),
        change(
            "update-integration",
            json!({ "slug": "openai-production", "key": NEW, "description": "With a new key" }),
            &["key"],
            true,
        ),
        change(
            "update-virtual-key",
            json!({ "slug": virtual_key, "key": NEW, "note": "With a new key" }),
            &["key"],
            true,
        ),
        change(
            "update-mcp-integration",
            json!({ "mcp_integration_id": mcp, "description": "With a new header",
                "configurations": { "custom_headers": { "Authorization": NEW } } }),
            &["configurations"],
            true,
        ),
        change(
            "update-secret-reference",
            json!({ "secret_reference_id": reference, "description": "With another sign-in",
                "auth_config": { "vault_token": NEW } }),
            &["auth_config"],
            true,
        ),
        change(
            "rotate-api-key",
            json!({ "id": key }),
            &["cannot be undone"],
            false,
        ),
    ];
    for change in changes {
        let SecretChange {
            tool,
            args,
            named,
            is_undone,
        } = change;
        server.answer(tool, args).await;
        let id = server.last_change().await["id"].clone();
        let (failed, text) = server.call("undo-change", json!({ "id": id })).await;
        assert_eq!(failed, !is_undone, "{tool}: {text}");
        assert!(!text.contains(NEW), "{tool}: {text}");
        match is_undone {
            true => {
                let undone: Value = serde_json::from_str(&text).unwrap();
                let left = undone["not_restored"].to_string();
                assert!(
                    named.iter().all(|name| left.contains(name)),
                    "{tool}: {text}"
                );
            }
            false => assert!(
                named.iter().all(|name| text.contains(name)),
                "{tool}: {text}"
            ),
        }
        if !is_undone && tool != "rotate-api-key" {
            assert!(text.contains("does not keep"), "{tool}: {text}");
        }
    }
    let bytes = read_folder(server.file.parent().unwrap());
    assert!(!contains(&bytes, NEW), "a secret is in the journal");
}

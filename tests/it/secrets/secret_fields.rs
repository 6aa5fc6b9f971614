//! Secret fields: recognized by nested names, with any characters.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::LazyLock};

use portkey_api::catalog::Catalog;
use portkey_mcp::security::secrets::{
    AllowedReferences, DeliveryMode, MASK, ReferenceCaller, SecretReferences, Secrets,
    mask_response,
};
use portkey_operation::{JsonMap, ValidationOptions, field_path};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::support::upstream::{MockUpstream, dispatcher, json_response, operator};

/// Value of a reference; the process learns it when the reference is resolved.
const RESOLVED_SECRET: &str = "fetched-from-the-folder-of-secrets";
/// Replaces the value in stored documents, as after a restart: the process does not know it.
const STORED_SECRET: &str = "unknown word after a restart";

const LOCAL_CALLER: ReferenceCaller<'_> = ReferenceCaller {
    name: "local",
    is_local: true,
};

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::full);

/// A folder with one secret, available to references for the whole test run.
static SECRETS: LazyLock<Secrets> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap().keep();
    fs::write(folder.join("key"), RESOLVED_SECRET).unwrap();
    open_references(vec![folder])
});

fn open_references(folders: Vec<PathBuf>) -> Secrets {
    let allowed = AllowedReferences {
        folders,
        ..AllowedReferences::default()
    };
    Secrets::new(
        DeliveryMode::Inline,
        SecretReferences::open(&allowed).unwrap(),
    )
}

/// Resolves the references of a call; returns the request with [`STORED_SECRET`] for the secret.
fn resolve_call(tool: &str, args: &Value) -> Result<Value, String> {
    let published = CATALOG.find(tool).unwrap().compiled();
    let args = args.as_object().unwrap().clone();
    let validated = published.validate(args, &ValidationOptions::default());
    let mut args = validated.map_err(|error| error.to_string())?.args;
    SECRETS
        .resolve_references(published, LOCAL_CALLER, &mut args)
        .map_err(|error| error.to_string())?;
    let text = Value::Object(args).to_string();
    Ok(serde_json::from_str(&text.replace(RESOLVED_SECRET, STORED_SECRET)).unwrap())
}

/// Returns the masked response of a read.
fn masked_read(read: &str, mut answer: Value) -> String {
    mask_response(CATALOG.find(read).unwrap().operation, &mut answer);
    answer.to_string()
}

/// A free-form document, the write that accepts it, and its place in a read.
struct DocumentCase {
    write: &'static str,
    args: fn(Value) -> Value,
    read: &'static str,
    /// Builds the responses of the read from the request.
    answers: fn(&Value) -> Vec<Value>,
}

const DOCUMENT_CASES: [DocumentCase; 5] = [
    DocumentCase {
        write: "create-config",
        args: |document| json!({ "name": "n", "config": document }),
        read: "get-config",
        answers: |sent| {
            let document = &sent["config"];
            let text = sent["config"].to_string();
            vec![
                json!({ "config": document }),
                json!({ "config": text }),
                json!({ "data": { "config": document } }),
                json!({ "data": { "config": text } }),
            ]
        },
    },
    DocumentCase {
        write: "create-config",
        args: |document| json!({ "name": "n", "config": document }),
        read: "list-config-versions",
        answers: |sent| {
            let document = &sent["config"];
            let text = sent["config"].to_string();
            vec![
                json!({ "data": [{ "config": document }] }),
                json!({ "data": [{ "config": text }] }),
            ]
        },
    },
    DocumentCase {
        write: "create-guardrail",
        args: |document| {
            json!({ "name": "n", "checks": [{ "id": "default.regexMatch",
            "parameters": with_field(document, "rule", json!("x")) }] })
        },
        read: "get-guardrail",
        answers: |sent| vec![json!({ "checks": sent["checks"] })],
    },
    DocumentCase {
        write: "create-mcp-integration",
        args: |document| {
            json!({ "name": "n", "url": "https://h", "transport": "http", "auth_type": "none",
                "configurations": document })
        },
        read: "get-mcp-integration",
        answers: |sent| vec![json!({ "configurations": sent["configurations"] })],
    },
    DocumentCase {
        write: "modify-mcp-gateway",
        args: |document| {
            json!({ "gateway": "g", "servers_config": { "servers": [{ "saved_name": "s",
                "input_guardrails_config": { "enabled": true, "guardrail_name": "g", "block": [],
                    "additional_config": document } }] } })
        },
        read: "get-mcp-gateway",
        answers: |sent| vec![json!({ "servers_config": sent["servers_config"] })],
    },
];

fn with_field(mut document: Value, name: &str, value: Value) -> Value {
    document[name] = value;
    document
}

/// Generates names from parts: secret names, harmless names, and path characters.
fn any_name() -> impl Strategy<Value = String> {
    let words = [
        "headers",
        "api_key",
        "key",
        "token",
        "authorization",
        "credentials",
        "metadata",
        "conditions",
        "group_by",
        "name",
        "value",
        "note",
        "auth",
        "secret_key",
        "request_token",
        "type",
        "default",
        "x",
    ];
    let marks = [
        ".", "[", "]", "/", "~", "~1", "\"", "'", "[0]", "[]", " ", "\\", "`", "-", "*", "$",
    ];
    let part = prop_oneof![4 => select(words.to_vec()), 2 => select(marks.to_vec()), 1 => Just("")];
    let any = vec(part, 0..4).prop_map(|parts| parts.concat());
    prop_oneof![4 => select(words.to_vec()).prop_map(str::to_owned), 4 => any, 1 => ".{0,12}",
        1 => "x{60,70}(api_key|note)?"]
}

/// Generates a document with references at any place.
fn any_document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => Just(json!("$file:key")),
        1 => Just(json!({ "$file": "key" })),
        1 => Just(json!("plain")),
        1 => Just(json!(7)),
        1 => Just(Value::Null),
        1 => Just(json!("string")),
    ];
    let object = |inner: BoxedStrategy<Value>| {
        vec((any_name(), inner), 1..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    };
    let below = leaf.boxed().prop_recursive(4, 12, 3, move |inner| {
        prop_oneof![
            3 => object(inner.clone()),
            1 => vec(inner, 1..3).prop_map(Value::Array),
        ]
    });
    object(below.boxed())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// With any names: the value of a reference is masked when it is read back.
    #[test]
    fn reference_is_resolved_only_where_the_secret_is_masked(document in any_document()) {
        for DocumentCase { write, args, read, answers } in &DOCUMENT_CASES {
            let Ok(sent) = resolve_call(write, &args(document.clone())) else { continue };
            for answer in answers(&sent) {
                let shown = masked_read(read, answer);
                prop_assert!(!shown.contains(STORED_SECRET), "{write}, {read}: {document} -> {shown}");
            }
        }
    }

    /// With any names: a secret that another caller stored is masked in a declared field.
    #[test]
    fn declared_secret_is_masked_next_to_any_fields(around in any_document(), names in vec(any_name(), 0..3)) {
        let place = names.iter().rev().fold(json!({ "api_key": STORED_SECRET }), |below, name| {
            json!({ name: below })
        });
        let answer = json!({ "config": [around, place], "data": { "config": place.to_string() } });
        // The names of labels and of harmless fields are declared as well.
        let labels = ["metadata", "conditions", "group_by"];
        let shown = masked_read("get-config", answer);
        let is_label = names.iter().any(|name| labels.contains(&bare_name(name).as_str()));
        prop_assert!(is_label || !shown.contains(STORED_SECRET), "{names:?}: {shown}");
    }
}

fn bare_name(name: &str) -> String {
    let bare: String = name
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | '.'))
        .collect();
    if bare.eq_ignore_ascii_case("groupby") {
        "group_by".to_owned()
    } else {
        bare.to_ascii_lowercase()
    }
}

/// Each of these references was resolved once, although a read shows its value.
#[tokio::test]
async fn reference_outside_a_secret_field_is_rejected() {
    let reference = "$file:key";
    let documents = [
        json!({ "z.headers.note": reference }),
        json!({ "headers[0].note": reference }),
        json!({ "headers[": { "note": reference } }),
        json!({ "headers[0]": [reference] }),
        json!({ "note": { "x.api_key[": reference } }),
        json!({ "api_key/": reference }),
        json!({ "api_key~1x": reference }),
        json!({ "\"api_key\"": reference }),
        json!({ "": reference }),
        // Labels and settings are shown at any place.
        json!({ "metadata": { "key": reference } }),
        json!({ "conditions": [{ "key": reference }] }),
        json!({ "headers": [{ "name": reference, "value": "v" }] }),
        json!({ "credentials": [{ "description": reference, "key": "k", "value": "v" }] }),
        json!({ "api_key": { "type": "string", "description": reference } }),
    ];
    for document in documents {
        let args = json!({ "name": "n", "config": document });
        let error = resolve_call("create-config", &args).unwrap_err();
        assert!(
            error.contains("refers to a secret where none is kept"),
            "{document}: {error}"
        );
    }
    // The bodies of a log are returned in a response without declared fields.
    for body in [
        json!({ "pat": reference }),
        json!({ "key": reference }),
        json!({ "name": "pat", "value": reference }),
        json!({ "messages": [{ "pwd": reference }] }),
    ] {
        let request =
            json!({ "url": "https://a.example", "method": "POST", "headers": {}, "body": body });
        let response = json!({ "status": 200, "headers": {}, "body": {}, "response_time": 5 });
        let args =
            json!({ "logs": [{ "request": request, "response": response, "metadata": {} }] });
        let error = resolve_call("insert-logs", &args).unwrap_err();
        assert!(
            error.contains("refers to a secret where none is kept"),
            "{body}: {error}"
        );
    }
    // The same through the dispatcher: nothing is sent.
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), RESOLVED_SECRET).unwrap();
    let dispatcher =
        dispatcher(&upstream).with_secrets(open_references(vec![folder.path().to_owned()]));
    let args = json!({ "name": "n", "config": { "z.headers.note": reference } });
    let args = args.as_object().unwrap().clone();
    let error = dispatcher
        .call_as_local(&operator(), "create-config", args)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(r#"`config["z.headers.note"]`: refers"#),
        "{error}"
    );
    assert_eq!(upstream.count(), 0);
}

#[test]
fn reference_in_a_secret_field_is_resolved() {
    let reference = "$file:key";
    for document in [
        json!({ "api_key": reference }),
        json!({ "targets": [{ "x": 1 }, { "apiKey": { "$file": "key" } }] }),
        json!({ "request_headers": { "x.y[0]": reference, "": reference } }),
        json!({ "headers": [{ "name": "x", "value": reference }] }),
        json!({ "credentials": { "a": { "b": [reference] } } }),
        json!({ "api_key": { "value": reference } }),
        json!({ "api.key": reference }),
    ] {
        let args = json!({ "name": "n", "config": document });
        let sent = resolve_call("create-config", &args).unwrap();
        assert!(
            sent.to_string().contains(STORED_SECRET) && !sent.to_string().contains("$file"),
            "{sent}"
        );
    }
}

/// A number in `tokens` is a count and is shown.
#[test]
fn reference_to_a_number_is_resolved_only_where_numbers_are_masked() {
    struct Case {
        file: &'static str,
        name: &'static str,
        is_resolved: bool,
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("number"), "481516234248").unwrap();
    fs::write(folder.path().join("text"), "word-of-a-secret").unwrap();
    let secrets = open_references(vec![folder.path().to_owned()]);
    let published = CATALOG.find("create-config").unwrap().compiled();
    for Case {
        file,
        name,
        is_resolved,
    } in [
        Case {
            file: "text",
            name: "tokens",
            is_resolved: true,
        },
        Case {
            file: "number",
            name: "tokens",
            is_resolved: false,
        },
        Case {
            file: "text",
            name: "max_tokens",
            is_resolved: false,
        },
        Case {
            file: "number",
            name: "api_key_2",
            is_resolved: true,
        },
        Case {
            file: "text",
            name: "token_value",
            is_resolved: true,
        },
    ] {
        let args = json!({ "name": "n", "config": { name: format!("$file:{file}") } });
        let validated = published.validate(to_map(&args), &ValidationOptions::default());
        let outcome =
            secrets.resolve_references(published, LOCAL_CALLER, &mut validated.unwrap().args);
        assert_eq!(outcome.is_ok(), is_resolved, "{file}, {name}");
    }
}

/// Different fields have different paths.
#[test]
fn declared_names_contain_no_path_separators() {
    fn names(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(map) => {
                for (name, below) in map {
                    if let ("properties", Value::Object(fields)) = (name.as_str(), below) {
                        found.extend(fields.keys().cloned());
                    }
                    names(below, found);
                }
            }
            Value::Array(list) => list.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for entry in CATALOG.iter() {
        names(entry.compiled().full_schema(), &mut found);
        let operation = entry.operation;
        let declared = operation
            .secret_fields()
            .iter()
            .chain(operation.one_time_secrets());
        for step in declared.flat_map(|path| path.split('.')) {
            found.insert(step.trim_end_matches("[]").to_owned());
        }
    }
    found.remove("*");
    assert!(found.len() > 200);
    for name in found {
        assert_eq!(field_path("", &name), name);
        assert!(!name.contains(['/', '~']), "{name}");
    }
}

/// Each secret argument of a write either accepts no reference, or is masked in the reads of its
/// domain.
#[test]
fn secret_argument_is_masked_when_read_back() {
    let mut taken = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for (tool, args) in crate::support::planted_secrets::calls_with_secret("placeholder") {
        let entry = CATALOG.find(tool).unwrap();
        let validated = entry
            .compiled()
            .validate(to_map(&args), &ValidationOptions::default());
        let Ok(validated) = validated else { continue };
        let args = Value::Object(validated.args);
        for index in 0.. {
            let (planted, place) = plant_reference(tool, &args, index);
            let Some(place) = place else { break };
            match resolve_call(tool, &planted) {
                Ok(sent) => {
                    taken.insert(place);
                    assert_masked_in_reads(tool, &sent);
                }
                Err(error) if error.contains("where none is kept") => {
                    refused.insert(place);
                }
                // The field requires an object, or one of its enum values.
                Err(_) => {}
            }
        }
    }
    for place in [
        "key",
        "auth_config.vault_token",
        "configurations.custom_headers.Authorization",
    ] {
        assert!(taken.contains(place), "{place}: {taken:?}");
    }
    for place in ["auth_config.vault_addr", "config.strategy.mode"] {
        assert!(refused.contains(place), "{place}: {refused:?}");
    }
}

fn to_map(args: &Value) -> JsonMap {
    args.as_object().unwrap().clone()
}

/// Returns the arguments with a reference in the secret field of this index, and its path.
fn plant_reference(tool: &str, args: &Value, index: usize) -> (Value, Option<String>) {
    let mut args = to_map(args);
    let mut place = None;
    let mut count = 0;
    let plant = |at: &dyn std::fmt::Display, _, value: &mut Value| {
        if count == index {
            place = Some(at.to_string());
            *value = json!("$file:key");
        }
        count += 1;
        Ok::<_, ()>(())
    };
    CATALOG
        .find(tool)
        .unwrap()
        .compiled()
        .visit_secrets(&mut args, plant)
        .unwrap();
    (Value::Object(args), place)
}

fn assert_masked_in_reads(tool: &str, sent: &Value) {
    let domain = CATALOG.find(tool).unwrap().domain.name;
    let reads = CATALOG.iter().filter(|read| read.domain.name == domain);
    for read in reads.filter(|read| read.operation.hints().read_only) {
        for mut answer in [
            sent.clone(),
            json!({ "data": sent }),
            json!({ "data": [sent] }),
        ] {
            mask_response(read.operation, &mut answer);
            for path in unmasked_paths(&answer, &mut Vec::new()) {
                let name = path.last().unwrap().as_str();
                let read = read.operation.name();
                assert!(
                    NEVER_RETURNED.contains(&name),
                    "{tool}, {read}: {path:?} in {answer}"
                );
            }
        }
    }
}

/// Secret arguments that the API returns masked or not at all, under names that are not secret
/// elsewhere.
const NEVER_RETURNED: &[&str] = &["key"];

fn unmasked_paths(value: &Value, at: &mut Vec<String>) -> Vec<Vec<String>> {
    match value {
        Value::String(text) if text.contains(STORED_SECRET) => vec![at.clone()],
        Value::Array(list) => list
            .iter()
            .flat_map(|item| unmasked_paths(item, at))
            .collect(),
        Value::Object(map) => {
            let mut found = Vec::new();
            for (name, value) in map {
                at.push(name.clone());
                found.extend(unmasked_paths(value, at));
                at.pop();
            }
            found
        }
        _ => Vec::new(),
    }
}

/// A masked name must not be sent as a name.
#[tokio::test]
async fn masked_field_name_is_rejected() {
    let upstream = MockUpstream::start(|_| json_response("{}")).await;
    let args = json!({ "slug": "s", "config": { "targets": [{ MASK: 1 }] } });
    let args = args.as_object().unwrap().clone();
    let error = dispatcher(&upstream)
        .call_as_local(&operator(), "update-config", args)
        .await
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("`config.targets[0].[masked by portkey-mcp]`")
            || error.starts_with(r#"`config.targets[0]["[masked by portkey-mcp]"]`"#),
        "{error}"
    );
    assert_eq!(upstream.count(), 0);
}

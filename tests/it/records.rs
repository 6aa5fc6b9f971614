//! The declarations, compared with the records of Portkey's API beside a checkout.
//!
//! The records are not part of this repository. Without them the tests are skipped and say so.

use std::{collections::BTreeSet, fs, path::Path};

use portkey_api::domains::DOMAINS;
use portkey_operation::{ApiBase, CompiledOperation, Operation};
use serde_json::Value;

use crate::support::programs::report_skipped;

const RECORDS_PATH: &str = "../shared/portkey-api";

/// Well-known records of Enkrypt AI's API that are excluded, because only its gateway is changed
/// from here.
const EXCLUDED_RECORDS: &[&str] = &["add-mcp-registry-server"];
/// Arguments that are not sent.
const LOCAL_ARGUMENTS: &[(&str, &str)] = &[("modify-mcp-gateway", "preview")];

/// Aliases that a tool does not have: a caller who asks for a server most likely means one of
/// Portkey's.
const EXCLUDED_ALIASES: &[&str] = &["get-server"];

/// Headers that the client adds by itself.
const KEY_HEADERS: &[&str] = &["apikey", "x-portkey-api-key"];

/// Arguments that are optional in the specification although a call without them has no effect.
/// They are the only field of a role change, and the list of members to add.
const REQUIRED_IN_PRACTICE: &[(&str, &str)] = &[
    ("add-workspace-member", "users"),
    ("update-user", "role"),
    ("update-workspace-member", "role"),
];
/// Fields that the live API has at another place: the documents list a model's headers among its
/// configurations, and Terraform sends the description of a partial's version as `version_description`.
const MOVED_FIELDS: &[&str] = &[
    "bulk-update-integration-models.models.custom_headers",
    "update-prompt-partial.description",
];

/// Tools whose body is one argument, as a list. The API accepts a single item as well, so the
/// record's body has no name for it.
const BODY_ARGUMENTS: &[(&str, &str)] = &[("insert-logs", "logs")];

/// Returns the argument that is the whole body of a tool, if there is one.
pub(crate) fn body_argument(tool: &str) -> Option<&'static str> {
    BODY_ARGUMENTS
        .iter()
        .find(|(name, _)| *name == tool)
        .map(|(_, argument)| *argument)
}

/// Returns the arguments of a tool that are not sent.
pub(crate) fn local_arguments(tool: &str) -> impl Iterator<Item = &'static str> {
    LOCAL_ARGUMENTS
        .iter()
        .filter(move |(name, _)| *name == tool)
        .map(|(_, argument)| *argument)
}

/// Returns true if there are no records, and reports the test as skipped.
pub(crate) fn are_missing() -> bool {
    let is_missing = !Path::new(RECORDS_PATH).is_dir();
    if is_missing {
        report_skipped("records of the API");
    }
    is_missing
}

/// Returns the records of a domain; `None` without a folder of records. Endpoints of Enkrypt AI
/// whose names alone are known must not ship.
pub(crate) fn read_records(name: &str) -> Option<Vec<Value>> {
    let folder = Path::new(RECORDS_PATH);
    let file = match name {
        "enkrypt-mcp-gateway" => "operations-enkrypt.json".to_owned(),
        domain => format!("operations/{domain}.json"),
    };
    if !folder.is_dir() {
        return None;
    }
    // A new domain may have no records yet; the comparison of names reports that.
    let text = fs::read_to_string(folder.join(file)).unwrap_or_else(|_| "[]".to_owned());
    let mut records: Vec<Value> = serde_json::from_str(&text).unwrap();
    if name == "enkrypt-mcp-gateway" {
        records.retain(|r| r["confidence"] != "low");
        records.retain(|r| !EXCLUDED_RECORDS.contains(&r["id"].as_str().unwrap()));
    }
    Some(records)
}

#[test]
fn declarations_match_the_records() {
    if are_missing() {
        return;
    }
    let mut compared = 0;
    for domain in DOMAINS {
        let records = read_records(domain.name).unwrap();
        let names: BTreeSet<_> = records
            .iter()
            .map(|record| record["id"].as_str().unwrap())
            .collect();
        // The records have what Portkey documents; preview operations come from elsewhere.
        let declared: BTreeSet<_> = domain.stable_operations().map(Operation::name).collect();
        let missing: Vec<_> = names.difference(&declared).collect();
        let unrecorded: Vec<_> = declared.difference(&names).collect();
        assert!(
            missing.is_empty() && unrecorded.is_empty(),
            "{}: not declared {missing:?}; not in {RECORDS_PATH}, which maintainers keep: {unrecorded:?}",
            domain.name
        );
        for record in &records {
            let operation = domain
                .operations
                .iter()
                .find(|o| o.name() == record["id"])
                .unwrap();
            assert_matches_record(&CompiledOperation::new(operation.clone()), record);
            compared += 1;
        }
    }
    assert!(compared > 0);
}

/// Secret or personal response fields of the records are declared as such, and one-time secrets as
/// one-time secrets.
#[test]
fn recorded_response_secrets_are_declared() {
    if are_missing() {
        return;
    }
    let mut compared = 0;
    let mut missing = Vec::new();
    for domain in DOMAINS {
        for record in read_records(domain.name).unwrap_or_default() {
            let operation = domain
                .operations
                .iter()
                .find(|o| o.name() == record["id"])
                .unwrap();
            for remark in strings(&record["secret_response_fields"]) {
                let once = ["shown only here", "one time", "bearer", "rotate_auth"];
                let once = once.iter().any(|words| remark.contains(words));
                // Personal data and text are shown to administrators; credentials are not.
                let shown = [
                    "PII",
                    "prompt",
                    "names",
                    "are sensitive",
                    "user id",
                    "model output",
                    ".user_id",
                ];
                let shown = shown.iter().any(|words| remark.contains(words));
                let declared = match (once, shown) {
                    (true, _) => operation.one_time_secrets().to_vec(),
                    (_, false) => operation.secret_fields().to_vec(),
                    _ => [operation.secret_fields(), operation.sensitive_fields()].concat(),
                };
                for field in parse_field_paths(&remark) {
                    let covers = |path: &&str| {
                        let below = field.strip_prefix(path.trim_end_matches(".*"));
                        below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                    };
                    if !declared.iter().any(covers) {
                        missing.push(format!("{}: `{field}` ({remark})", operation.name()));
                    }
                    compared += 1;
                }
            }
        }
    }
    assert!(missing.is_empty(), "not declared: {missing:#?}");
    assert!(compared > 40, "{compared}");
}

/// Parses the paths in a remark such as `data[].email, first_name: personal; last_name`. The first
/// path locates those after it. Words that are neither paths nor known fields are prose.
fn parse_field_paths(remark: &str) -> Vec<String> {
    const FIELDS: &[&str] = &[
        "key",
        "email",
        "data",
        "config",
        "choices",
        "request",
        "response",
        "credentials",
        "configurations",
    ];
    let mut fields = Vec::new();
    let mut place = None::<String>;
    for part in remark.split(';') {
        let part = part
            .split(':')
            .next()
            .unwrap()
            .split(" when ")
            .next()
            .unwrap();
        for word in part.split([' ', ',', '/']) {
            let is_camel =
                word.starts_with(char::is_lowercase) && word.contains(char::is_uppercase);
            let is_path = word.contains(['_', '.']) || is_camel || FIELDS.contains(&word);
            if !is_path || word.contains(['(', ')']) {
                continue;
            }
            let field = word.trim_end_matches(".*");
            let whole = match &place {
                Some(place) if !word.contains('.') => format!("{place}.{field}"),
                _ => field.to_owned(),
            };
            if fields.is_empty() {
                place = word.rsplit_once('.').map(|(place, _)| place.to_owned());
            }
            fields.push(whole);
        }
    }
    fields
}

fn assert_matches_record(published: &CompiledOperation, record: &Value) {
    let operation = published.operation();
    let name = operation.name();
    assert_eq!(operation.method().as_str(), record["method"], "{name}");
    let path = snake_case_placeholders(record["path"].as_str().unwrap());
    assert_eq!(operation.path(), path, "{name}");
    let in_gateway = record["self_hosted_host"] == "gateway";
    assert_eq!(
        operation.base() == ApiBase::Gateway,
        in_gateway,
        "host of {name}"
    );
    let headers: BTreeSet<_> = operation
        .header_arguments()
        .iter()
        .map(|(_, header)| (*header).to_owned())
        .collect();
    let recorded = string_fields(&record["header_params"], "name").map(|name| name.to_lowercase());
    assert_eq!(
        headers,
        recorded
            .filter(|name| !KEY_HEADERS.contains(&name.as_str()))
            .collect(),
        "{name}"
    );
    let hints = operation.hints();
    let published_hints = (hints.read_only, hints.destructive, hints.idempotent);
    let hint = |key: &str| record["hints"][key].as_bool().unwrap();
    assert_eq!(
        published_hints,
        (hint("readOnly"), hint("destructive"), hint("idempotent")),
        "hints of {name}"
    );
    let external = record["sensitive"]
        .as_array()
        .unwrap()
        .iter()
        .any(|s| s == "external_call");
    assert_eq!(hints.open_world, external, "{name}");

    let mut names: BTreeSet<String> = operation.placeholders().map(str::to_owned).collect();
    names.extend(string_fields(&record["query_params"], "name"));
    names.extend(
        record["body"]["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone()),
    );
    names.extend(
        operation
            .header_arguments()
            .iter()
            .map(|(argument, _)| (*argument).to_owned()),
    );
    names.extend(local_arguments(name).map(str::to_owned));
    let list = body_argument(name);
    names.extend(list.map(str::to_owned));
    let fields = published.full_schema()["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    // Documents, SDKs and the Terraform provider know more than the records.
    names.retain(|name| published.resolve_argument_alias(name).is_none());
    let declared: BTreeSet<_> = fields.keys().cloned().collect();
    let missing: Vec<_> = names.difference(&declared).collect();
    assert!(missing.is_empty(), "{name} does not declare {missing:?}");
    match list {
        Some(list) => {
            assert_body_matches(name, &fields[list]["items"], &record["body"]["oneOf"][0])
        }
        None => assert_body_matches(name, published.full_schema(), &record["body"]),
    }

    for query in record["query_params"].as_array().into_iter().flatten() {
        let argument = query["name"].as_str().unwrap();
        assert_bounds_match(&format!("{name}.{argument}"), &fields[argument], query);
    }

    let mut required: BTreeSet<String> = operation.placeholders().map(str::to_owned).collect();
    let query = record["query_params"].as_array().into_iter().flatten();
    required.extend(
        query
            .filter(|q| q["required"] == true)
            .filter_map(|q| q["name"].as_str().map(str::to_owned)),
    );
    required.extend(strings(&record["body"]["required"]));
    for header in record["header_params"].as_array().into_iter().flatten() {
        let name = header["name"].as_str().unwrap();
        let mut ours = operation.header_arguments().iter();
        let Some((argument, _)) = ours.find(|(_, ours)| name.eq_ignore_ascii_case(ours)) else {
            continue;
        };
        required.extend((header["required"] == true).then(|| (*argument).to_owned()));
        assert_eq!(
            header["maxLength"], fields[*argument]["maxLength"],
            "{name}"
        );
    }
    let in_practice = REQUIRED_IN_PRACTICE
        .iter()
        .filter(|(tool, _)| *tool == name);
    required.extend(in_practice.map(|(_, argument)| (*argument).to_owned()));
    required.extend(list.map(str::to_owned));
    // Required means that the live API rejects a call without it; a specification requires more.
    let ours: BTreeSet<_> = strings(&published.full_schema()["required"]).collect();
    let strangers: Vec<_> = ours.difference(&required).collect();
    assert!(strangers.is_empty(), "{name} requires {strangers:?}");

    let scopes: BTreeSet<_> = strings(&record["plan_gate"]["scopes_any_of"]).collect();
    assert_eq!(
        operation
            .required_scopes()
            .iter()
            .map(|s| (*s).to_owned())
            .collect::<BTreeSet<_>>(),
        scopes,
        "{name}"
    );
    let enterprise = record["plan_gate"]["plan"] == "enterprise";
    assert_eq!(
        operation.plan() == portkey_operation::Plan::Enterprise,
        enterprise,
        "plan of {name}"
    );

    let answers: BTreeSet<_> = [name]
        .iter()
        .chain(operation.alias_names())
        .map(|n| (*n).to_owned())
        .collect();
    for alias in strings(&record["aliases"]).filter(|a| !EXCLUDED_ALIASES.contains(&a.as_str())) {
        assert!(
            answers.contains(&alias.replace('_', "-")),
            "{name} does not answer to {alias}"
        );
    }
}

/// Compares field names and enums of the body at every depth; `configurations` may have several
/// shapes.
fn assert_body_matches(at: &str, declared: &Value, recorded: &Value) {
    let mut shapes = vec![recorded];
    shapes.extend(recorded["oneOf"].as_array().into_iter().flatten());
    let fields = |shape: &Value| shape["properties"].as_object().cloned().unwrap_or_default();
    for shape in &shapes {
        for (name, field) in fields(shape) {
            let at = format!("{at}.{name}");
            let mine = &declared["properties"][&name];
            // Settings of an MCP integration are an open map in the API and here.
            let open =
                declared["properties"].is_null() && declared["additionalProperties"] != false;
            if open {
                continue;
            }
            if MOVED_FIELDS.contains(&at.as_str()) {
                continue;
            }
            assert!(mine.is_object(), "{at} is not declared");
            // Each of several shapes may have one value of the same enum.
            let words: BTreeSet<_> = shapes
                .iter()
                .flat_map(|shape| strings(&shape["properties"][&name]["enum"]))
                .collect();
            let ours: BTreeSet<_> = strings(&mine["enum"]).collect();
            let is_closed = mine["x-open"] != true && !ours.is_empty();
            let missing: Vec<_> = words.difference(&ours).collect();
            assert!(
                !is_closed || missing.is_empty(),
                "enum of {at} lacks {missing:?}"
            );
            assert_bounds_match(&at, mine, &field);
            assert_body_matches(&at, mine, &field);
            assert_body_matches(&at, &mine["items"], &field["items"]);
        }
    }
}

/// Checks that sizes which the API rejects are rejected, and that fields cleared by `null` in an
/// update can be cleared.
fn assert_bounds_match(at: &str, declared: &Value, recorded: &Value) {
    let least = [
        ("minimum", "minimum"),
        ("min", "minimum"),
        ("minLength", "minLength"),
        ("minItems", "minItems"),
    ];
    let most = [
        ("maximum", "maximum"),
        ("max", "maximum"),
        ("maxLength", "maxLength"),
        ("maxItems", "maxItems"),
    ];
    for (theirs, ours) in least {
        let Some(bound) = recorded[theirs].as_f64().filter(|bound| *bound != 0.0) else {
            continue;
        };
        assert!(
            declared[ours].as_f64().is_some_and(|mine| mine >= bound),
            "{ours} of {at}: {bound}"
        );
    }
    for (theirs, ours) in most {
        let Some(bound) = recorded[theirs].as_f64() else {
            continue;
        };
        assert!(
            declared[ours].as_f64().is_some_and(|mine| mine <= bound),
            "{ours} of {at}: {bound}"
        );
    }
    if recorded["nullable"] == true && at.starts_with("update-") {
        assert_eq!(declared["x-clearable"], true, "{at} can be cleared");
    }
}

/// Converts the placeholders of a path to snake case: `{promptId}/makeDefault` becomes
/// `{prompt_id}/makeDefault`, and `{sub-type}` becomes `{sub_type}`.
pub(crate) fn snake_case_placeholders(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        inside = c == '{' || inside && c != '}';
        match c {
            '-' if inside => out.push('_'),
            _ if inside && c.is_ascii_uppercase() => out.extend(['_', c.to_ascii_lowercase()]),
            _ => out.push(c),
        }
    }
    out
}

fn string_fields<'a>(list: &'a Value, key: &'a str) -> impl Iterator<Item = String> + 'a {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(move |item| item[key].as_str().map(str::to_owned))
}

fn strings(list: &Value) -> impl Iterator<Item = String> + '_ {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
}

//! Fuzzes policy paths: any text as a path, and arguments with any names. Caps, conditions and
//! redactions have to find the value at the path in every spelling, and no other value.

#![no_main]

use std::{sync::LazyLock, time::SystemTime};

use libfuzzer_sys::fuzz_target;
use portkey_api::catalog::Catalog;
use portkey_mcp::observability::request::Transport;
use portkey_operation::JsonMap;
use portkey_policy::{Decision, NO_CLAIMS, Policy, PolicyEvaluation, PolicyInput, PolicyTarget};
use portkey_store::Store;
use serde_json::{Value, json};

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::full);

const TOOL: &str = "create-config";
/// Maximum number of names in a path.
const MAX_NAMES: usize = 12;
/// Maximum value that the rules permit.
const MAX_VALUE: f64 = 10.0;
const PLANTED: &str = "planted-value-7c21";

/// Splits the input. A byte selects the form of the planted value. The path comes before a line of
/// three hyphens, the arguments after that line.
fn parse_input(data: &[u8]) -> Option<(u8, &str, JsonMap)> {
    let (how, text) = data.split_first()?;
    let (path, args) = std::str::from_utf8(text).ok()?.split_once("\n---\n")?;
    match serde_json::from_str(args).ok()? {
        Value::Object(args) => Some((*how, path, args)),
        _ => None,
    }
}

/// Parses the names of a path independently of the server's own parser.
fn parse_names(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix("args.").unwrap_or(path);
    let mut names = Vec::new();
    let mut name = String::new();
    let mut rest = path.chars();
    let mut is_closed = false;
    loop {
        match rest.next() {
            Some('[') => {
                (rest.next()? == ']').then_some(())?;
                is_closed = true;
            }
            Some('.') | None if name.is_empty() => return None,
            Some('.') => {
                names.push(std::mem::take(&mut name));
                is_closed = false;
            }
            None => {
                names.push(name);
                return Some(names);
            }
            Some(']') => return None,
            Some(_) if is_closed => return None,
            Some(letter) => name.push(letter),
        }
    }
}

/// Removes the differences between the spellings of a name.
fn normalize(name: &str) -> String {
    let letters = name.chars().filter(|c| !['_', '-', ' '].contains(c));
    letters.flat_map(char::to_lowercase).collect()
}

fn is_same(a: &str, b: &str) -> bool {
    a == b || a.len() <= 128 && b.len() <= 128 && normalize(a) == normalize(b)
}

/// Returns true if every value at the path is absent, null, or a number of at most [`MAX_VALUE`].
fn is_within(value: &Value, names: &[String]) -> bool {
    let Some((name, rest)) = names.split_first() else {
        return value.is_null() || value.as_f64().is_some_and(|value| value <= MAX_VALUE);
    };
    match value {
        Value::Array(items) => items.iter().all(|item| is_within(item, names)),
        Value::Object(map) => map
            .iter()
            .all(|(other, inner)| !is_same(other, name) || is_within(inner, rest)),
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str(text).is_ok_and(|inner: Value| is_within(&inner, names))
        }
        _ => true,
    }
}

/// Places a value at the path, in one of the forms that an API may accept.
fn plant(into: &mut JsonMap, names: &[String], value: &Value, how: u8) {
    let Some((name, rest)) = names.split_first() else {
        return;
    };
    let name = match how & 3 {
        1 => name.to_uppercase(),
        2 => format!("_{name}"),
        3 => format!("{name}-"),
        _ => name.clone(),
    };
    // A change of more than the spelling makes it another name.
    let name = if is_same(&name, &names[0]) {
        name
    } else {
        names[0].clone()
    };
    let inner = match rest {
        [] => value.clone(),
        rest => {
            let mut map = match into.get(&name) {
                Some(Value::Object(map)) => map.clone(),
                _ => JsonMap::new(),
            };
            plant(&mut map, rest, value, how.rotate_left(3));
            match how >> 2 & 3 {
                1 => json!([{}, map]),
                2 => json!(Value::Object(map).to_string()),
                3 => json!([[map]]),
                _ => json!(map),
            }
        }
    };
    into.insert(name, inner);
}

fn evaluate(rule: &str, args: &JsonMap) -> Option<PolicyEvaluation> {
    let text = format!("version: '1'\ntools: {{ {TOOL}: {{ rules: [{{ name: r, {rule} }}] }} }}\n");
    let policy = Policy::parse("fuzz", &text, &CATALOG).ok()?;
    let entry = CATALOG.find(TOOL).ok()?;
    let input = PolicyInput {
        target: PolicyTarget::Tool {
            operation: entry.operation,
            domain: entry.domain.name,
        },
        claims: &NO_CLAIMS,
        source: None,
        called: None,
        unknown_fields: &[],
        args,
        principal: "someone",
        client: None,
        transport: Transport::Http,
        session: None,
        time: SystemTime::UNIX_EPOCH,
        tainted: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    Some(runtime.block_on(policy.decide(&input, &Store::in_memory())))
}

fn passes(rule: &str, args: &JsonMap) -> Option<bool> {
    evaluate(rule, args).map(|evaluation| matches!(evaluation.decision, Decision::Allow))
}

fuzz_target!(|data: &[u8]| {
    let Some((how, path, args)) = parse_input(data) else {
        return;
    };
    let quoted = Value::from(path).to_string();
    let cap = format!("cap: {{ {quoted}: {MAX_VALUE} }}");
    let Some(is_permitted) = passes(&cap, &args) else {
        return;
    };
    let Some(names) = parse_names(path) else {
        panic!("{path:?} is accepted, but is not a path")
    };
    // Each level may be JSON in a text, whose escapes double with every level around it.
    if names.len() > MAX_NAMES {
        return;
    }
    let expected = is_within(&Value::Object(args.clone()), &names);
    assert_eq!(is_permitted, expected, "{path:?}: {args:?}");
    // The value at the path is found, regardless of other values.
    let mut planted = args.clone();
    plant(&mut planted, &names, &json!(MAX_VALUE + 1.0), how);
    assert_eq!(
        passes(&cap, &planted),
        Some(false),
        "{path:?} {how}: {planted:?}"
    );
    let condition = Value::from(format!("args.{}", names.join("."))).to_string();
    for (action, op) in [("evaluate", "lte"), ("approve", "gt"), ("dry_run", "gt")] {
        let rule = format!(
            "action: {action}, conditions: [{{ path: {condition}, op: {op}, value: {MAX_VALUE} }}]"
        );
        let is_permitted = passes(&rule, &planted);
        assert!(
            is_permitted != Some(true),
            "{action} {path:?} {how}: {planted:?}"
        );
    }
    // The fuzzer learns the text from the comparison at the end, and gives it as a name.
    let is_given =
        path.contains(PLANTED) || Value::Object(args.clone()).to_string().contains(PLANTED);
    let mut response = args;
    plant(&mut response, &names, &json!(PLANTED), how);
    let mut response = Value::Object(response);
    // Paths into responses have no prefix `args.`; with it, they mean a field of that name.
    let redacted = Value::from(names.join(".")).to_string();
    if let Some(evaluation) = evaluate(&format!("redact: [{redacted}]"), &JsonMap::new()) {
        PolicyEvaluation::redact(&evaluation.redactions, &mut response);
        assert!(
            is_given || !response.to_string().contains(PLANTED),
            "{path:?} {how}: {response}"
        );
    }
});

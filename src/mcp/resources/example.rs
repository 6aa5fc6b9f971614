//! Example arguments: the required ones, with values that pass validation.

use portkey_api::catalog::CatalogEntry;
use portkey_operation::JsonMap;
use serde_json::{Value, json};

const UUID: &str = "7d0f3c52-6a1b-4e0f-9b8e-2c4d5e6f7a80";

/// Returns the arguments that a call requires.
///
/// If validation needs more than the schema says, the first optional field that satisfies it is
/// added. Returns `None` if a single field is not sufficient.
pub fn example_arguments(entry: &CatalogEntry) -> Option<JsonMap> {
    let published = entry.compiled();
    let root = entry.compiled().full_schema();
    let Value::Object(least) = example_object(root, root, 0) else {
        return None;
    };
    if published.validate_and_build_request(least.clone()).is_ok() {
        return Some(least);
    }
    let fields = root
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let mut with_one_more = fields.map(|(name, field)| {
        let mut args = least.clone();
        args.insert(name.clone(), example_value(name, field, root, 0));
        args
    });
    with_one_more.find(|args| published.validate_and_build_request(args.clone()).is_ok())
}

/// Builds an object with its required fields. `root` holds the definitions that `schema` refers to.
fn example_object(schema: &Value, root: &Value, depth: usize) -> Value {
    let names = |key: &str| {
        let names = schema
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        names.filter_map(Value::as_str)
    };
    let one_of = ["x-exactly-one", "x-at-least-one"].map(|key| names(key).next());
    let fields = schema.get("properties").and_then(Value::as_object);
    let wanted = names("required").chain(one_of.into_iter().flatten());
    let field = |name: &str| {
        Some((
            name.to_owned(),
            example_value(name, fields?.get(name)?, root, depth),
        ))
    };
    Value::Object(wanted.filter_map(field).collect::<JsonMap>())
}

/// Builds a value for a field of that name.
fn example_value(name: &str, schema: &Value, root: &Value, depth: usize) -> Value {
    let schema = resolve_ref(schema, root);
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(first) = schema.get("enum").and_then(|values| values.get(0)) {
        return first.clone();
    }
    if let Some(variant) = ["anyOf", "oneOf"]
        .iter()
        .find_map(|key| schema.get(*key)?.get(0))
    {
        return example_value(name, variant, root, depth);
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        kind => kind.and_then(Value::as_str),
    };
    match kind {
        Some("boolean") => true.into(),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("array") if depth < 4 => schema.get("items").map_or_else(
            || json!([]),
            |item| json!([example_value(name, item, root, depth + 1)]),
        ),
        Some("object") if depth < 4 => example_object(schema, root, depth + 1),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => example_text(name).into(),
    }
}

fn resolve_ref<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let pointer = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|to| to.strip_prefix('#'));
    pointer
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(schema)
}

fn example_text(name: &str) -> &'static str {
    match name {
        "id" | "user_id" | "version_id" | "label_id" | "invite_id" | "export_id" | "log_id" => UUID,
        name if name.ends_with("_min") || name == "start_time" => "2026-11-01T00:00:00Z",
        name if name.ends_with("_max") || name == "end_time" => "2026-11-08T00:00:00Z",
        name if name.ends_with("_at") => "2027-01-01T00:00:00Z",
        name if name.contains("url") || name.contains("host") => "https://example.com",
        name if name.contains("mail") => "someone@example.com",
        "slug" | "workspace_slug" => "my-slug",
        _ => "example",
    }
}

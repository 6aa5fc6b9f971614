//! Portkey's Terraform provider decodes every response of the sandbox.
//!
//! The client of the provider is written in Go and decodes responses into declared types. An
//! omitted or `null` field keeps its zero value, and a field of another type fails the whole
//! response. The tables declare the type of each field.

mod access;
mod traffic;

use reqwest::Method;
use serde_json::{Value, json};

use super::Portkey;
use GoType::{Any, Bool, FlexBool, Float, Int, Labels, List, Object, Struct, Text, Time};

/// A Go type for JSON.
enum GoType {
    Text,
    /// An integer.
    Int,
    Float,
    Bool,
    /// A boolean, a number or a text: the client converts it.
    FlexBool,
    /// A time in RFC 3339.
    Time,
    Any,
    /// An object with any values.
    Object,
    /// An object with text values.
    Labels,
    List(&'static GoType),
    Struct(&'static [(&'static str, GoType)]),
}

/// A resource of the provider: its requests, and the types of its fields.
struct Resource {
    name: &'static str,
    /// Path of the list. The path of an item is this path with the handle, and the same query.
    list: &'static str,
    /// Field of the list response that contains the items.
    rows: &'static str,
    /// Field of an item that identifies it in a path; empty if items are only listed.
    handle: &'static str,
    item: &'static [(&'static str, GoType)],
    /// Fields that the provider's state takes from a read.
    state: &'static [&'static str],
    /// Path and JSON body of a create request.
    create: Option<(&'static str, &'static str)>,
    /// Fields that the state takes from the response to a create request.
    created: &'static [&'static str],
    /// JSON body of an update request.
    update: Option<&'static str>,
    /// Fields that the state takes from the response to an update request.
    updated: &'static [&'static str],
}

const EMPTY_RESOURCE: Resource = Resource {
    name: "",
    list: "",
    rows: "data",
    handle: "id",
    item: &[],
    state: &[],
    create: None,
    created: &["id"],
    update: None,
    updated: &[],
};

/// Collects the fields that cannot be decoded.
fn decode(go: &GoType, value: &Value, at: &str, faults: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let inside = |name: &str| format!("{at}.{name}");
    let fits = match go {
        Any => true,
        Text => value.is_string(),
        Int => value.is_i64(),
        Float => value.is_number(),
        Bool => value.is_boolean(),
        FlexBool => value.is_boolean() || value.is_number() || value.is_string(),
        Time => value.as_str().is_some_and(is_rfc3339),
        Object => value.is_object(),
        Labels => value.as_object().is_some_and(|labels| {
            labels
                .values()
                .all(|value| value.is_string() || value.is_null())
        }),
        List(item) => {
            let items = value.as_array();
            for (index, inner) in items.into_iter().flatten().enumerate() {
                decode(item, inner, &format!("{at}[{index}]"), faults);
            }
            items.is_some()
        }
        Struct(fields) => {
            for (name, go) in *fields {
                decode(go, &value[*name], &inside(name), faults);
            }
            value.is_object()
        }
    };
    if !fits {
        faults.push(format!("{at} cannot be decoded: {value}"));
    }
}

/// Returns true if a text is a time such as `2026-01-31T12:00:00.000Z` or `…+02:00`.
fn is_rfc3339(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else {
        return false;
    };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches('0'),
        None => rest,
    };
    ["Z", "+00:00", "-00:00"].contains(&zone)
}

/// Returns the fields of a state that a response lacks.
fn missing_fields(answer: &Value, state: &[&str], at: &str) -> Vec<String> {
    let is_missing = |name: &&&str| {
        let value = &answer[**name];
        value.is_null() || value == ""
    };
    state
        .iter()
        .filter(is_missing)
        .map(|name| format!("{at} lacks {name}"))
        .collect()
}

#[tokio::test]
async fn terraform_provider_decodes_every_response() {
    let portkey = Portkey::start().await;
    let mut faults = Vec::new();
    for resource in access::RESOURCES.iter().chain(traffic::RESOURCES) {
        let Resource {
            name,
            list,
            rows,
            handle,
            item,
            ..
        } = resource;
        let (base, query) = list.split_once('?').unwrap_or((list, ""));
        let path_of = |handle: &str| format!("{base}/{handle}?{query}");
        if let Some((path, body)) = resource.create {
            let made = portkey
                .post(path, serde_json::from_str(body).unwrap())
                .await;
            faults.extend(missing_fields(
                &made,
                resource.created,
                &format!("a new {name}"),
            ));
            if let Some(change) = resource.update {
                let path = path_of(made[handle].as_str().or(made["id"].as_str()).unwrap());
                let answer = portkey
                    .put(&path, serde_json::from_str(change).unwrap())
                    .await;
                faults.extend(missing_fields(
                    &answer,
                    resource.updated,
                    &format!("a changed {name}"),
                ));
            }
        }
        let listed = portkey.get(list).await;
        let listed = listed[*rows]
            .as_array()
            .unwrap_or_else(|| panic!("{name}: {listed}"));
        assert!(!listed.is_empty(), "{name}: nothing to read");
        for row in listed {
            decode(&Struct(item), row, &format!("a listed {name}"), &mut faults);
            if !handle.is_empty() {
                let read = portkey.get(&path_of(row[*handle].as_str().unwrap())).await;
                decode(&Struct(item), &read, name, &mut faults);
                faults.extend(missing_fields(&read, resource.state, name));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[tokio::test]
async fn terraform_provider_reads_the_surrounding_fields() {
    let portkey = Portkey::start().await;
    let models = portkey.get("/integrations/openai-production/models").await;
    assert!(models["allow_all_models"].is_boolean(), "{models}");
    let list = portkey.get("/admin/users").await;
    assert!(
        list["total"].is_i64() && list["object"].is_string(),
        "{list}"
    );
    // The provider finds a workspace by its UUID among those of an MCP integration.
    let workspace = portkey.get("/admin/workspaces/ws-shared").await;
    let open = portkey
        .get("/mcp-integrations/issue-tracker/workspaces")
        .await;
    let open = open["workspaces"].as_array().unwrap();
    assert!(
        open.iter().any(|row| row["id"] == workspace["id"]),
        "{open:?}"
    );
    // The rotation of a key returns the new key.
    let keys = portkey.get("/api-keys").await;
    let path = format!(
        "/api-keys/{}/rotate",
        keys["data"][0]["id"].as_str().unwrap()
    );
    let rotated = portkey.post(&path, Value::Null).await;
    for field in ["id", "key", "key_transition_expires_at"] {
        assert!(rotated[field].is_string(), "{field}: {rotated}");
    }
    // A missing item gives 403 or 404, which the provider treats alike.
    for path in [
        "/admin/workspaces/ws-none",
        "/guardrails/pg-none",
        "/configs/pc-none",
    ] {
        let (status, ..) = portkey.refusal(Method::GET, path, Value::Null).await;
        assert!([403, 404].contains(&status), "{path}: {status}");
    }
}

#[test]
fn value_of_another_type_is_reported() {
    for (go, value) in [
        (Text, json!(1)),
        (Int, json!(1.5)),
        (Int, json!(true)),
        (Float, json!("1")),
        (Bool, json!(0)),
        (Time, json!("2026-01-31")),
        (Time, json!("2026-01-31T12:00:00")),
        (Labels, json!({ "a": 1 })),
        (Object, json!([])),
        (List(&Text), json!(["a", 1])),
        (
            Struct(&[("is_default", Int)]),
            json!({ "is_default": false }),
        ),
        (Struct(&[("is_default", Int)]), json!([])),
    ] {
        let mut faults = Vec::new();
        decode(&go, &value, "it", &mut faults);
        assert_eq!(faults.len(), 1, "{value}: {faults:?}");
    }
    for (go, value) in [
        (Text, Value::Null),
        (Any, json!([1])),
        (FlexBool, json!("false")),
        (Time, json!("2026-01-31T12:00:00.123+05:30")),
        (Struct(&[("is_default", Int)]), json!({})),
    ] {
        let mut faults = Vec::new();
        decode(&go, &value, "it", &mut faults);
        assert!(faults.is_empty(), "{value}: {faults:?}");
    }
}

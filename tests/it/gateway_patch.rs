//! Merging a patch into a gateway: each rule, and properties of any patch.

use portkey_merge_patch::gateway::merge;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

fn stored_gateway() -> Value {
    json!({
        "gateway_saved_name": "g", "is_active": true,
        "servers_config": {
            "common_overrides": {
                "input_guardrails_config": { "enabled": true, "guardrail_name": "A", "block": ["x", "y"],
                    "additional_config": { "deep": { "a": 1, "b": 2 }, "list": [1, 2] } },
                "output_guardrails_config": { "enabled": false },
            },
            "servers": [
                { "saved_name": "one", "server_version": "v1",
                    "input_guardrails_config": { "enabled": true, "block": ["x"] } },
                { "saved_name": "two" },
                { "saved_name": "two", "server_version": "v2" },
            ],
        },
    })
}

/// Each case patches `servers_config` and compares one place of the result.
#[test]
fn each_merge_rule_applies() {
    struct Case {
        what: &'static str,
        config: Value,
        pointer: &'static str,
        expected: Option<Value>,
    }

    let at = |pointer: &str| stored_gateway().pointer(pointer).cloned();
    const SERVERS: &str = "/servers_config/servers";
    const INPUT: &str = "/servers_config/common_overrides/input_guardrails_config";
    let input =
        |change: Value| json!({ "common_overrides": { "input_guardrails_config": change } });
    let list = |edit: fn(&mut Vec<Value>)| {
        let mut servers = at(SERVERS).unwrap().as_array().unwrap().clone();
        edit(&mut servers);
        Some(Value::Array(servers))
    };
    let servers = |changes: Value| json!({ "servers": changes });
    let cases = [
        Case {
            what: "nothing",
            config: json!({}),
            pointer: SERVERS,
            expected: at(SERVERS),
        },
        Case {
            what: "the other part stays",
            config: json!({ "common_overrides": null }),
            pointer: SERVERS,
            expected: at(SERVERS),
        },
        Case {
            what: "all overrides",
            config: json!({ "common_overrides": null }),
            pointer: "/servers_config/common_overrides",
            expected: None,
        },
        Case {
            what: "one policy",
            config: input(json!(null)),
            pointer: INPUT,
            expected: None,
        },
        Case {
            what: "what is not there",
            config: json!({ "nothing": null }),
            pointer: SERVERS,
            expected: at(SERVERS),
        },
        Case {
            what: "fields of a policy are replaced, those left out stay",
            config: input(json!({ "enabled": false, "block": ["z"] })),
            pointer: INPUT,
            expected: Some(
                json!({ "enabled": false, "guardrail_name": "A", "block": ["z"],
                "additional_config": { "deep": { "a": 1, "b": 2 }, "list": [1, 2] } }),
            ),
        },
        Case {
            what: "additional_config merges by key, its lists do not",
            config: input(
                json!({ "additional_config": { "deep": { "a": null, "c": 3 }, "list": [3], "servers": [{}] } }),
            ),
            pointer: "/servers_config/common_overrides/input_guardrails_config/additional_config",
            expected: Some(json!({ "deep": { "b": 2, "c": 3 }, "list": [3], "servers": [{}] })),
        },
        Case {
            what: "no server named",
            config: servers(json!([])),
            pointer: SERVERS,
            expected: at(SERVERS),
        },
        Case {
            what: "all servers",
            config: servers(json!(null)),
            pointer: SERVERS,
            expected: Some(json!([])),
        },
        Case {
            what: "a server changed in its place",
            config: servers(
                json!([{ "saved_name": "one", "input_guardrails_config": { "block": ["z"] } }]),
            ),
            pointer: SERVERS,
            expected: list(|servers| servers[0]["input_guardrails_config"]["block"] = json!(["z"])),
        },
        Case {
            what: "the policy of a server",
            config: servers(json!([{ "saved_name": "one", "input_guardrails_config": null }])),
            pointer: SERVERS,
            expected: list(|servers| {
                servers[0] = json!({ "saved_name": "one", "server_version": "v1" })
            }),
        },
        Case {
            what: "a version left out is v1, on either side",
            config: servers(
                json!([{ "saved_name": "two", "server_version": "v1", "output_guardrails_config": {} }]),
            ),
            pointer: SERVERS,
            expected: list(|servers| servers[1]["output_guardrails_config"] = json!({})),
        },
        Case {
            what: "another version is another server",
            config: servers(
                json!([{ "saved_name": "one", "server_version": "v2", "output_guardrails_config": null, "_delete": false }]),
            ),
            pointer: SERVERS,
            expected: list(|servers| {
                servers.push(json!({ "saved_name": "one", "server_version": "v2" }))
            }),
        },
        Case {
            what: "a new server gets its version",
            config: servers(
                json!([{ "saved_name": "new", "input_guardrails_config": { "enabled": true, "block": null } }]),
            ),
            pointer: SERVERS,
            expected: list(|servers| {
                servers.push(json!({ "saved_name": "new", "server_version": "v1",
                    "input_guardrails_config": { "enabled": true } }));
            }),
        },
        Case {
            what: "a server off the list, whatever else is said of it",
            config: servers(
                json!([{ "saved_name": "two", "_delete": true, "input_guardrails_config": { "enabled": true } }]),
            ),
            pointer: SERVERS,
            expected: list(|servers| _ = servers.remove(1)),
        },
        Case {
            what: "a server that is not on it",
            config: servers(json!([{ "saved_name": "three", "_delete": true }])),
            pointer: SERVERS,
            expected: at(SERVERS),
        },
        Case {
            what: "off the list and on again is an empty server in the old place",
            config: servers(
                json!([{ "saved_name": "one", "_delete": true }, { "saved_name": "one" }]),
            ),
            pointer: SERVERS,
            expected: list(|servers| {
                servers[0] = json!({ "saved_name": "one", "server_version": "v1" })
            }),
        },
        Case {
            what: "no name",
            config: servers(json!([{ "server_version": "v1", "_delete": true }])),
            pointer: SERVERS,
            expected: at(SERVERS),
        },
    ];
    for Case {
        what,
        config,
        pointer,
        expected,
    } in cases
    {
        let merged = merge(&stored_gateway(), &json!({ "servers_config": config }));
        assert_eq!(merged.pointer(pointer), expected.as_ref(), "{what}");
        assert_eq!(merged["gateway_saved_name"], "g", "{what}");
    }
    let off = merge(&stored_gateway(), &json!({ "is_active": false }));
    assert_eq!(
        (&off["is_active"], &off["servers_config"]),
        (&json!(false), &stored_gateway()["servers_config"])
    );
    assert_eq!(
        merge(&stored_gateway(), &json!({ "servers_config": null })).get("servers_config"),
        None
    );
    let whole = json!({ "servers_config": { "servers": [{ "saved_name": "a" }] } });
    let fresh = json!([{ "saved_name": "a", "server_version": "v1" }]);
    assert_eq!(
        merge(&json!({}), &whole)["servers_config"]["servers"],
        fresh
    );
}

/// Generates JSON of any shape with the field names of a gateway.
fn any_json() -> impl Strategy<Value = Value> {
    let names = [
        "servers_config",
        "servers",
        "common_overrides",
        "input_guardrails_config",
        "additional_config",
        "saved_name",
        "server_version",
        "_delete",
        "enabled",
        "block",
        "is_active",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        select(vec!["a", "b", "v1"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 5, move |inner| {
        let fields = vec((select(names.to_vec()), inner.clone()), 0..5);
        let object = fields.prop_map(|fields| {
            Value::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            )
        });
        prop_oneof![vec(inner, 0..4).prop_map(Value::Array), object]
    })
}

/// Generates an object in which each field may be missing.
fn optional_fields(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| prop::option::of(value).prop_map(move |value| (name, value)))
        .collect();
    fields
        .prop_map(|fields| {
            let given = fields
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Value::Object(given.collect())
        })
        .boxed()
}

/// Generates a value, or sometimes `null` in a patch.
fn or_null(patch: bool, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    let odds = if patch { 1 } else { 0 };
    prop_oneof![odds => Just(Value::Null), 3 => value].boxed()
}

fn guardrail_policy(patch: bool) -> BoxedStrategy<Value> {
    let texts = || vec(select(vec!["x", "y"]).prop_map(Value::from), 0..3).prop_map(Value::Array);
    let inner = optional_fields(vec![
        ("a", or_null(patch, (0..3).prop_map(Value::from))),
        ("b", or_null(patch, texts())),
    ]);
    let more = optional_fields(vec![
        ("deep", or_null(patch, inner)),
        ("c", or_null(patch, texts())),
    ]);
    optional_fields(vec![
        (
            "enabled",
            or_null(patch, any::<bool>().prop_map(Value::from)),
        ),
        (
            "guardrail_name",
            or_null(patch, select(vec!["A", "B"]).prop_map(Value::from)),
        ),
        ("block", or_null(patch, texts())),
        ("additional_config", or_null(patch, more)),
    ])
}

/// Generates the guardrail policies of a server or of the common overrides, with further fields.
fn policy_fields(
    patch: bool,
    more: Vec<(&'static str, BoxedStrategy<Value>)>,
) -> BoxedStrategy<Value> {
    let mut fields = vec![
        (
            "input_guardrails_config",
            or_null(patch, guardrail_policy(patch)),
        ),
        (
            "output_guardrails_config",
            or_null(patch, guardrail_policy(patch)),
        ),
    ];
    fields.extend(more);
    optional_fields(fields)
}

/// Generates a list of servers. A stored list is free of duplicates, and a patch may repeat a
/// server.
fn server_list(patch: bool) -> BoxedStrategy<Value> {
    let versions = select(vec!["v1", "v2"]).prop_map(Value::from).boxed();
    let mut more = vec![("server_version", versions)];
    if patch {
        more.push(("_delete", any::<bool>().prop_map(Value::from).boxed()));
    }
    let server =
        (select(vec!["one", "two"]), policy_fields(patch, more)).prop_map(|(name, mut server)| {
            server["saved_name"] = name.into();
            server
        });
    let servers = vec(server, 0..6).prop_map(move |mut servers| {
        let mut names = Vec::new();
        servers.retain(|server| {
            let fresh = patch || !names.contains(&server_key(server));
            names.push(server_key(server));
            fresh
        });
        Value::Array(servers)
    });
    servers.boxed()
}

/// Generates a gateway or a patch. About half of them contain only servers.
fn gateway(patch: bool) -> BoxedStrategy<Value> {
    let config = optional_fields(vec![
        (
            "common_overrides",
            or_null(patch, policy_fields(patch, Vec::new())),
        ),
        ("servers", or_null(patch, server_list(patch))),
    ]);
    let gateway = optional_fields(vec![
        ("servers_config", or_null(patch, config)),
        ("is_active", any::<bool>().prop_map(Value::from).boxed()),
        ("is_sample", any::<bool>().prop_map(Value::from).boxed()),
    ]);
    let only_servers =
        server_list(patch).prop_map(|servers| json!({ "servers_config": { "servers": servers } }));
    prop_oneof![gateway, only_servers].boxed()
}

fn server_key(server: &Value) -> (String, String) {
    let text =
        |field: &str, otherwise: &str| server[field].as_str().unwrap_or(otherwise).to_owned();
    (text("saved_name", ""), text("server_version", "v1"))
}

fn server_entries(gateway: &Value) -> Vec<Value> {
    gateway["servers_config"]["servers"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// Checks at every level that unnamed fields are unchanged and that `null` removes a field.
fn check_merge(stored: &Value, patch: &Value, merged: &Value) -> Result<(), TestCaseError> {
    for (field, value) in stored.as_object().into_iter().flatten() {
        if patch.get(field).is_none() {
            prop_assert_eq!(merged.get(field), Some(value), "`{}` was not named", field);
        }
    }
    for (field, change) in patch.as_object().into_iter().flatten() {
        match change {
            _ if field == "servers" => {}
            Value::Null => prop_assert_eq!(merged.get(field), None, "`{}` was cleared", field),
            Value::Object(_) => {
                let nothing = Value::Null;
                let inner = stored.get(field).unwrap_or(&nothing);
                check_merge(inner, change, &merged[field])?;
            }
            whole => prop_assert_eq!(merged.get(field), Some(whole)),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merge_of_any_json_is_idempotent(stored in any_json(), patch in any_json()) {
        let merged = merge(&stored, &patch);
        prop_assert_eq!(merge(&merged, &patch), merged);
    }

    #[test]
    fn merge_of_gateways_is_idempotent(stored in gateway(false), patch in gateway(true)) {
        let merged = merge(&stored, &patch);
        prop_assert_eq!(merge(&merged, &patch), merged);
    }

    #[test]
    fn unnamed_field_stays_and_null_clears(stored in gateway(false), patch in gateway(true)) {
        check_merge(&stored, &patch, &merge(&stored, &patch))?;
    }

    #[test]
    fn servers_are_identified_by_name_and_version(stored in gateway(false), patch in gateway(true)) {
        let before = server_entries(&stored);
        let merged = merge(&stored, &patch);
        let changes = server_entries(&patch);
        let after = server_entries(&merged);
        let config = &patch["servers_config"];
        let emptied = patch.get("servers_config").is_some_and(Value::is_null)
            || config.get("servers").is_some_and(Value::is_null);
        let names: Vec<_> = after.iter().map(server_key).collect();
        for (i, name) in names.iter().enumerate() {
            prop_assert!(!names[..i].contains(name), "{:?} is there twice", name);
        }
        prop_assert!(after.iter().all(|server| server.get("_delete").is_none()));
        prop_assert!(!emptied || after.is_empty());
        // The last entry for a server decides if it is present.
        for change in &changes {
            let last = changes.iter().rfind(|other| server_key(other) == server_key(change)).unwrap();
            prop_assert_eq!(names.contains(&server_key(change)), last["_delete"] != true);
        }
        if emptied {
            return Ok(());
        }
        // Servers without an entry are unchanged, and no server changes its position.
        let named = |server: &Value| changes.iter().any(|change| server_key(change) == server_key(server));
        for server in before.iter().filter(|server| !named(server)) {
            prop_assert!(after.contains(server), "{} was not named", server);
        }
        let old: Vec<_> = before.iter().map(server_key).filter(|name| names.contains(name)).collect();
        prop_assert_eq!(&names[..old.len()], old.as_slice());
        // A server with one entry that keeps it is merged like any other object.
        for change in changes.iter().filter(|change| change["_delete"] != true) {
            if changes.iter().filter(|other| server_key(other) == server_key(change)).count() == 1 {
                let find = |list: &[Value]| list.iter().find(|s| server_key(s) == server_key(change)).cloned();
                let mut change = change.clone();
                change.as_object_mut().unwrap().retain(|field, _| field.ends_with("_config"));
                check_merge(&find(&before).unwrap_or_default(), &change, &find(&after).unwrap())?;
            }
        }
    }
}

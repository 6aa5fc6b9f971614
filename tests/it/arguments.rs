//! Validation of arguments: accepted forms, coercion and errors.

use portkey_api::catalog::Catalog;
use serde_json::{Value, json};

fn build_request(tool: &str, args: &Value) -> Result<(String, Value), Vec<String>> {
    let catalog = Catalog::full();
    let published = catalog.find(tool).unwrap().compiled();
    match published.validate_and_build_request(args.as_object().unwrap().clone()) {
        Ok(request) => Ok((request.target, request.body.unwrap_or_default())),
        Err(error) => Err(error.errors().iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn arguments_are_coerced_to_their_types() {
    struct BodyCase {
        what: &'static str,
        more: Value,
        expected: Value,
    }

    struct Case {
        what: &'static str,
        tool: &'static str,
        args: Value,
        end: &'static str,
    }

    let create = json!({ "name": "n", "ai_provider_id": "openai" });
    let cases = [
        Case {
            what: "a number as text",
            tool: "list-all-integrations",
            args: json!({ "page_size": "5" }),
            end: "?page_size=5",
        },
        Case {
            what: "with spaces",
            tool: "list-all-integrations",
            args: json!({ "page_size": " 5 " }),
            end: "?page_size=5",
        },
        Case {
            what: "null is left out",
            tool: "list-all-integrations",
            args: json!({ "page_size": null, "type": "all" }),
            end: "?type=all",
        },
        Case {
            what: "truth as text",
            tool: "get-provider",
            args: json!({ "slug": "p", "include_configurations": "True" }),
            end: "/p?include_configurations=true",
        },
        Case {
            what: "an object in a query",
            tool: "list-all-providers",
            args: json!({ "tags": { "team": "a b" } }),
            end: "?tags=%7B%22team%22%3A%22a%20b%22%7D",
        },
        Case {
            what: "an object as text",
            tool: "list-all-providers",
            args: json!({ "tags": "{\"team\": \"x\"}" }),
            end: "?tags=%7B%22team%22%3A%22x%22%7D",
        },
        Case {
            what: "a list in a query",
            tool: "bulk-delete-integration-models",
            args: json!({ "slug": "i", "slugs": ["a", "b"] }),
            end: "/i/models?slugs=a%2Cb",
        },
        Case {
            what: "a list as text",
            tool: "bulk-delete-integration-models",
            args: json!({ "slug": "i", "slugs": "[\"a\"]" }),
            end: "/i/models?slugs=a",
        },
        Case {
            what: "a lone name for a list",
            tool: "bulk-delete-integration-models",
            args: json!({ "slug": "i", "slugs": "a" }),
            end: "/i/models?slugs=a",
        },
        Case {
            what: "names with commas for a list",
            tool: "bulk-delete-integration-models",
            args: json!({ "slug": "i", "slugs": "a, b,\n" }),
            end: "/i/models?slugs=a%2Cb",
        },
        Case {
            what: "truth as a digit in text",
            tool: "get-provider",
            args: json!({ "slug": "p", "include_configurations": "1" }),
            end: "/p?include_configurations=true",
        },
        Case {
            what: "blanks around an identifier",
            tool: "list-labels",
            args: json!({ "workspace_id": " ws-a\n" }),
            end: "/labels?workspace_id=ws-a",
        },
        Case {
            what: "the mark of a provider, and blanks in a path",
            tool: "get-provider",
            args: json!({ "slug": " @openai-prod " }),
            end: "/providers/openai-prod",
        },
    ];
    for Case {
        what,
        tool,
        args,
        end,
    } in cases
    {
        let (target, body) = build_request(tool, &args).unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert!(target.ends_with(end), "{what}: {target}");
        assert_eq!(body, Value::Null, "{what}: a GET or DELETE has no body");
    }
    let bodies = [
        BodyCase {
            what: "as it stands",
            more: json!({}),
            expected: json!({}),
        },
        BodyCase {
            what: "an object as text",
            more: json!({ "configurations": "{\"openai_project\":\"p\"}" }),
            expected: json!({ "configurations": { "openai_project": "p" } }),
        },
        BodyCase {
            what: "a list as text",
            more: json!({ "secret_mappings": "[]" }),
            expected: json!({ "secret_mappings": [] }),
        },
        BodyCase {
            what: "truth as text",
            more: json!({ "create_default_provider": "false" }),
            expected: json!({ "create_default_provider": false }),
        },
        BodyCase {
            what: "a number deep inside",
            more: json!({ "pricing_adjustments": { "multiplier": { "default": "0.8" } } }),
            expected: json!({ "pricing_adjustments": { "multiplier": { "default": 0.8 } } }),
        },
        BodyCase {
            what: "text stays text",
            more: json!({ "description": "5" }),
            expected: json!({ "description": "5" }),
        },
    ];
    for BodyCase {
        what,
        more,
        expected,
    } in bodies
    {
        let mut args = create.clone();
        let mut sent = create.clone();
        args.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        sent.as_object_mut()
            .unwrap()
            .extend(expected.as_object().unwrap().clone());
        assert_eq!(
            build_request("create-integration", &args),
            Ok(("/integrations".into(), sent)),
            "{what}"
        );
    }
}

#[test]
fn one_object_is_a_list_of_one_wherever_objects_are_listed() {
    let capability = json!({ "name": "search", "type": "tool" });
    let args = json!({ "mcp_server_id": "m", "capabilities": capability });
    let (_, body) = build_request("sync-mcp-server-capabilities", &args).unwrap();
    assert_eq!(body["capabilities"], json!([capability]));
}

#[test]
fn argument_of_a_bare_body_has_any_spelling() {
    let log =
        json!({ "request": { "url": "https://h/x", "body": {} }, "response": { "body": {} } });
    for name in ["logs", "Logs", "LOGS"] {
        let (_, body) = build_request("insert-logs", &json!({ name: [log] })).unwrap();
        assert_eq!(body, json!([log]), "{name}");
    }
}

#[test]
fn names_with_commas_are_a_list_and_sentences_are_not() {
    let key = json!({ "type": "organisation", "sub_type": "service", "name": "n" });
    for (scopes, expected) in [
        (
            json!("logs.list, logs.view"),
            json!(["logs.list", "logs.view"]),
        ),
        (
            json!("logs.list\nlogs.view"),
            json!(["logs.list", "logs.view"]),
        ),
        (json!("logs.list"), json!(["logs.list"])),
        (json!("all logs, please"), json!(["all logs, please"])),
        (json!(["a, b"]), json!(["a, b"])),
    ] {
        let mut args = key.clone();
        args["scopes"] = scopes;
        let (_, body) = build_request("create-api-key", &args).unwrap();
        assert_eq!(body["scopes"], expected, "{args}");
    }
}

/// Every text that identifies something in the path or a filter of a tool.
#[test]
fn words_for_no_value_are_no_identifiers_of_any_tool() {
    let catalog = Catalog::full();
    let mut checked = 0;
    for entry in catalog.iter() {
        let operation = &entry.operation;
        let compiled = entry.compiled();
        for name in operation.placeholders() {
            let is_free = ["trace_id", "span_id", "entity_id"].contains(&name);
            if is_free || !(name.ends_with("_id") || matches!(name, "id" | "slug")) {
                continue;
            }
            let args = json!({ name: "undefined" });
            let errors = compiled
                .validate_with_defaults(args.as_object().unwrap().clone())
                .unwrap_err()
                .to_string();
            assert!(
                errors.contains("stands for no value"),
                "{} {name}: {errors}",
                operation.name()
            );
            checked += 1;
        }
    }
    assert!(checked > 80, "{checked}");
}

#[test]
fn absent_null_and_value_stay_distinct() {
    struct Case {
        what: &'static str,
        args: Value,
        body: Value,
    }

    let tool = "update-mcp-integration";
    let cases = [
        Case {
            what: "cleared",
            args: json!({ "description": null }),
            body: json!({ "description": null }),
        },
        Case {
            what: "set",
            args: json!({ "description": "x" }),
            body: json!({ "description": "x" }),
        },
        Case {
            what: "deep inside",
            args: json!({ "secret_mappings": [{ "target_field": "key", "secret_reference_id": "s", "secret_key": null }] }),
            body: json!({ "secret_mappings": [{ "target_field": "key", "secret_reference_id": "s", "secret_key": null }] }),
        },
        Case {
            what: "open maps keep theirs",
            args: json!({ "configurations": { "x": null } }),
            body: json!({ "configurations": { "x": null } }),
        },
    ];
    for Case {
        what,
        mut args,
        body,
    } in cases
    {
        args["mcp_integration_id"] = json!("m");
        assert_eq!(
            build_request(tool, &args),
            Ok(("/mcp-integrations/m".into(), body)),
            "{what}"
        );
    }
}

/// Each case has a tool, its arguments, and for each error the path and a part of the message.
#[test]
fn invalid_arguments_are_reported_with_their_path() {
    struct Case {
        tool: &'static str,
        args: Value,
        expected: Vec<(&'static str, &'static str)>,
    }

    let limits = |limits: Value| json!({ "slug": "i", "workspaces": [{ "id": "w", "enabled": true, "usage_limits": limits }] });
    let cases = [
        Case {
            tool: "get-integration",
            args: json!({}),
            expected: vec![("`slug`", "is required")],
        },
        Case {
            tool: "get-integration",
            args: json!({ "slug": null }),
            expected: vec![("`slug`", "is required")],
        },
        Case {
            tool: "get-integration",
            args: json!({ "slugg": "x" }),
            expected: vec![
                ("`slugg`", "did you mean `slug`?"),
                ("`slug`", "is required"),
            ],
        },
        Case {
            tool: "get-integration",
            args: json!({ "slug": 5 }),
            expected: vec![("`slug`", "takes text, got a number")],
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "page_size": "many" }),
            expected: vec![("`page_size`", "takes a whole number, got text")],
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "page_size": 1.5 }),
            expected: vec![("`page_size`", "whole number, got 1.5")],
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "current_page": -1 }),
            expected: vec![("`current_page`", "at least 0")],
        },
        Case {
            tool: "list-mcp-integrations",
            args: json!({ "page_size": 1001 }),
            expected: vec![("`page_size`", "from 1 to 1000, got 1001")],
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "type": "team" }),
            expected: vec![("`type`", "it takes `workspace`, `organisation`, `all`")],
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "type": "organisaton" }),
            expected: vec![("`type`", "did you mean `organisation`?")],
        },
        Case {
            tool: "list-all-providers",
            args: json!({ "tags": { "a": 1 } }),
            expected: vec![("`tags.a`", "takes text")],
        },
        Case {
            tool: "create-integration",
            args: json!({ "name": "n", "ai_provider_id": "openai", "slug": "a b" }),
            expected: vec![("`slug`", "is no identifier")],
        },
        Case {
            tool: "create-mcp-integration",
            args: json!({ "name": "n", "url": "u", "auth_type": "none" }),
            expected: vec![("`transport`", "is required")],
        },
        Case {
            tool: "bulk-update-mcp-integration-capabilities",
            args: json!({ "mcp_integration_id": "m", "capabilities": [] }),
            expected: vec![("`capabilities`", "at least 1")],
        },
        Case {
            tool: "bulk-update-mcp-integration-capabilities",
            args: json!({ "mcp_integration_id": "m", "capabilities": [{ "name": "a", "type": "tool", "enabled": true }, { "name": "b", "type": 1 }] }),
            expected: vec![
                ("`capabilities[1].type`", "takes text"),
                ("`capabilities[1].enabled`", "is required"),
            ],
        },
        Case {
            tool: "bulk-update-integration-workspaces",
            args: json!({ "slug": "i" }),
            expected: vec![(
                "nothing to change is given",
                "`workspaces`, `global_workspace_access`",
            )],
        },
        Case {
            tool: "bulk-update-integration-workspaces",
            args: limits(json!([{}, {}])),
            expected: vec![("`workspaces[0].usage_limits`", "at most 1")],
        },
        Case {
            tool: "bulk-update-integration-workspaces",
            args: limits(json!([{ "periodic_reset_days": 366 }])),
            expected: vec![(
                "`workspaces[0].usage_limits[0].periodic_reset_days`",
                "from 1 to 365",
            )],
        },
        Case {
            tool: "create-integration",
            args: json!({ "name": "n", "ai_provider_id": "x", "pricing_adjustments": { "multiplier": { "default": -1 } } }),
            expected: vec![("`pricing_adjustments.multiplier.default`", "at least 0")],
        },
        Case {
            tool: "create-integration",
            args: json!({ "name": "n", "ai_provider_id": "x", "configurations": "{broken" }),
            expected: vec![("`configurations`", "takes an object, got text")],
        },
        Case {
            tool: "create-integration",
            args: json!({ "nam": "n", "key": 1, "secret_mappings": [{}], "tags": [] }),
            expected: vec![
                ("`nam`", "did you mean `name`?"),
                ("`name`", "is required"),
                ("`ai_provider_id`", "is required"),
                ("`key`", "takes text"),
                ("`secret_mappings[0].target_field`", "is required"),
                ("`secret_mappings[0].secret_reference_id`", "is required"),
                ("`tags`", "takes an object, got a list"),
            ],
        },
    ];
    for Case {
        tool,
        args,
        expected,
    } in cases
    {
        let problems = build_request(tool, &args).expect_err(&format!("{tool} {args}"));
        assert_eq!(
            problems.len(),
            expected.len(),
            "{tool} {args}: {problems:#?}"
        );
        for (problem, (at, what)) in problems.iter().zip(expected) {
            assert!(
                problem.starts_with(at) && problem.contains(what),
                "{tool} {args}: {problem}"
            );
        }
    }
}

/// Portkey's union of configurations by provider. An error states the rule.
#[test]
fn settings_of_another_provider_are_rejected() {
    let create = |provider: &str, settings: Value| {
        let args = json!({ "name": "n", "ai_provider_id": provider, "configurations": settings });
        build_request("create-integration", &args).map(drop)
    };
    let update = |settings: Value| {
        build_request(
            "update-integration",
            &json!({ "slug": "i", "configurations": settings }),
        )
        .map(drop)
    };
    assert_eq!(
        create(
            "openai",
            json!({ "openai_project": "p", "custom_host": "https://h" })
        ),
        Ok(())
    );
    assert_eq!(
        create(
            "bedrock",
            json!({ "aws_auth_type": "accessKey", "aws_region": "eu-west-1" })
        ),
        Ok(())
    );
    // The form of access keys in the documents of the Terraform provider.
    assert_eq!(
        create(
            "bedrock",
            json!({ "aws_access_key_id": "a", "aws_region": "eu-west-1" })
        ),
        Ok(())
    );
    assert_eq!(
        create("someone-new", json!({ "aws_region": "eu-west-1" })),
        Ok(())
    );
    assert_eq!(update(json!({ "aws_region": "eu-west-1" })), Ok(()));
    assert_eq!(update(json!({ "custom_headers": { "x": "y" } })), Ok(()));

    let foreign = create("openai", json!({ "aws_region": "eu-west-1" })).unwrap_err();
    assert!(
        foreign[0].starts_with(
            "`configurations.aws_region`: is no setting of `openai`; it takes `openai_organization`"
        ),
        "{foreign:?}"
    );
    let missing = create("bedrock", json!({ "aws_auth_type": "accessKey" })).unwrap_err();
    assert!(
        missing[0].starts_with(
            "`configurations.aws_region`: is required; with `configurations` `bedrock` needs"
        ),
        "{missing:?}"
    );
    let mixed =
        update(json!({ "aws_region": "eu-west-1", "vertex_region": "europe-west4" })).unwrap_err();
    assert!(
        mixed[0].contains(
            "`aws_region` belongs to `bedrock`, `sagemaker`; `vertex_region` belongs to `vertex-ai`"
        ),
        "{mixed:?}"
    );
    let unknown = create("bedrock", json!({ "aws_regoin": "x" })).unwrap_err();
    assert!(
        unknown[0].contains("did you mean `aws_region`?"),
        "{unknown:?}"
    );

    let mapped = json!({
        "name": "n", "ai_provider_id": "workers-ai", "configurations": {},
        "secret_mappings": [{ "target_field": "configurations.workers_ai_account_id", "secret_reference_id": "s" }],
    });
    assert!(
        build_request("create-integration", &mapped).is_ok(),
        "a secret reference fills what is required"
    );
}

#[test]
fn tools_are_found_by_alias_and_spelling() {
    let catalog = Catalog::full();
    let same = [
        ("list-all-integrations", "list_all_integrations"),
        ("list-all-integrations", "list_integrations"),
        ("list-all-integrations", "list-integrations"),
        ("bulk-delete-integration-models", "delete_integration_model"),
        ("update-mcp-integration", "update_mcp_integration"),
    ];
    for (name, written) in same {
        assert_eq!(
            catalog.find(written).unwrap().compiled().operation().name(),
            name,
            "{written}"
        );
    }
    let error = catalog.find("get-integratoin").unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no tool `get-integratoin`, did you mean `get-integration`?"
    );
    assert_eq!(
        catalog.find("zzz").unwrap_err().to_string(),
        "there is no tool `zzz`"
    );
}

#[test]
fn oversized_invalid_argument_gets_a_short_error() {
    let args = json!({ "slug": "x", "y".repeat(1 << 20): 1 });
    let problems = build_request("get-integration", &args).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].len() < 500, "{} bytes", problems[0].len());
    let args = json!({ "type": "y".repeat(1 << 20) });
    assert!(build_request("list-all-integrations", &args).unwrap_err()[0].len() < 500);
}

#[test]
fn secret_arguments_are_masked() {
    let catalog = Catalog::full();
    let redact = |tool: &str, args: Value| {
        let published = catalog.find(tool).unwrap().compiled();
        Value::Object(published.redact(args.as_object().unwrap().clone()))
    };
    let args = json!({
        "name": "n", "key": "sk",
        "configurations": { "aws_region": "r", "aws_secret_access_key": "s", "custom_headers": { "a": "b" } },
        "secret_mappings": [{ "target_field": "key", "secret_reference_id": "kept" }],
    });
    let blanked = json!({
        "name": "n", "key": "***",
        "configurations": { "aws_region": "r", "aws_secret_access_key": "***", "custom_headers": "***" },
        "secret_mappings": [{ "target_field": "key", "secret_reference_id": "kept" }],
    });
    assert_eq!(redact("create-integration", args), blanked);
    let as_text = json!({ "configurations": "{\"aws_secret_access_key\":\"s\"}" });
    assert_eq!(
        redact("create-integration", as_text),
        json!({ "configurations": { "aws_secret_access_key": "***" } })
    );
    let unreadable = json!({ "configurations": "{\"aws_secret_access_key\":\"s\"" });
    assert_eq!(
        redact("create-integration", unreadable),
        json!({ "configurations": "***" })
    );
    let models =
        json!({ "slug": "i", "models": [{ "slug": "m", "custom_headers": { "a": "b" } }] });
    assert_eq!(
        redact("bulk-update-integration-models", models)["models"][0]["custom_headers"],
        "***"
    );
    let mcp =
        json!({ "mcp_integration_id": "m", "configurations": { "custom_headers": { "a": "b" } } });
    assert_eq!(
        redact("update-mcp-integration", mcp)["configurations"],
        "***"
    );
    for tool in ["create-secret-reference", "update-secret-reference"] {
        let args = json!({ "auth_config": { "vault_token": "t" }, "secret_key": "kept" });
        let blanked = json!({ "auth_config": "***", "secret_key": "kept" });
        assert_eq!(redact(tool, args), blanked, "{tool}");
    }
    for tool in ["create-virtual-key", "update-virtual-key"] {
        assert_eq!(
            redact(tool, json!({ "key": "sk" })),
            json!({ "key": "***" }),
            "{tool}"
        );
    }
}

#[test]
fn condition_accepts_one_value_or_a_list() {
    let args = |value: Value| json!({ "rate_limits_policy_id": "p", "conditions": [{ "key": "model", "value": value }] });
    for (given, sent) in [
        (json!("*"), json!("*")),
        (json!(["a", "b"]), json!(["a", "b"])),
        (json!("[\"a\", \"b\"]"), json!(["a", "b"])),
        (json!("[a"), json!("[a")),
    ] {
        let (_, body) = build_request("update-rate-limits-policy", &args(given)).unwrap();
        assert_eq!(body["conditions"][0]["value"], sent);
    }
    for wrong in [json!(1), json!(["a", 1]), json!({})] {
        let refusal = build_request("update-rate-limits-policy", &args(wrong.clone())).unwrap_err();
        assert!(
            refusal[0].starts_with("`conditions[0].value"),
            "{wrong}: {refusal:?}"
        );
    }
}

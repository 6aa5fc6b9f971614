//! Other names of arguments: what callers of other servers send, and the request that comes of it.

use portkey_api::catalog::Catalog;
use portkey_operation::{JsonMap, UnknownFields, ValidationOptions};
use serde_json::{Value, json};

/// A call as callers of other servers make it.
struct Case {
    tool: &'static str,
    args: Value,
    target: &'static str,
    body: Value,
}

fn to_map(value: &Value) -> JsonMap {
    value.as_object().unwrap().clone()
}

/// Returns the target and the body of the request, or the errors.
fn build_request(tool: &str, args: &Value) -> Result<(String, Value), Vec<String>> {
    let catalog = Catalog::full();
    let published = catalog.find(tool).unwrap().compiled();
    match published.validate_and_build_request(to_map(args)) {
        Ok(request) => Ok((request.target, request.body.unwrap_or_default())),
        Err(error) => Err(error.errors().iter().map(ToString::to_string).collect()),
    }
}

fn assert_requests(cases: Vec<Case>) {
    for case in cases {
        let (target, body) = build_request(case.tool, &case.args)
            .unwrap_or_else(|errors| panic!("{} {}: {errors:?}", case.tool, case.args));
        assert_eq!(target, case.target, "{} {}", case.tool, case.args);
        assert_eq!(body, case.body, "{} {}", case.tool, case.args);
    }
}

#[test]
fn id_is_the_entity_of_the_path() {
    let null = Value::Null;
    assert_requests(vec![
        Case {
            tool: "get-mcp-server",
            args: json!({ "id": "s1" }),
            target: "/mcp-servers/s1",
            body: null.clone(),
        },
        Case {
            tool: "update-mcp-server",
            args: json!({ "id": "s1", "name": "n" }),
            target: "/mcp-servers/s1",
            body: json!({ "name": "n" }),
        },
        Case {
            tool: "delete-rate-limit",
            args: json!({ "id": "r1" }),
            target: "/policies/rate-limits/r1",
            body: null.clone(),
        },
        Case {
            tool: "archive-deployment",
            args: json!({ "id": "d1" }),
            target: "/deployments/d1",
            body: null.clone(),
        },
        Case {
            tool: "reset-usage-limit-entity",
            args: json!({ "limit_id": "l1", "entity_id": "e1" }),
            target: "/policies/usage-limits/l1/entities/e1/reset",
            body: json!({}),
        },
        Case {
            tool: "delete-integration-model",
            args: json!({ "slug": "i", "model_slug": "m" }),
            target: "/integrations/i/models?slugs=m",
            body: null,
        },
    ]);
}

/// SDKs name the entity in a path by another word, or by its slug.
#[test]
fn entity_of_the_path_has_the_names_of_sdks() {
    struct Case {
        tool: &'static str,
        args: Value,
        target: &'static str,
    }
    let cases = [
        Case {
            tool: "get-prompt",
            args: json!({ "prompt_slug": "p" }),
            target: "/prompts/p",
        },
        Case {
            tool: "get-prompt-version",
            args: json!({ "promptSlug": "p", "version_id": "v" }),
            target: "/prompts/p/versions/v",
        },
        Case {
            tool: "get-prompt-partial",
            args: json!({ "partial_slug": "p" }),
            target: "/prompts/partials/p",
        },
        Case {
            tool: "get-config",
            args: json!({ "config_slug": "c" }),
            target: "/configs/c",
        },
        Case {
            tool: "get-api-key",
            args: json!({ "api_key_id": "k" }),
            target: "/api-keys/k",
        },
        Case {
            tool: "get-usage-limits-policy",
            args: json!({ "usage_limit_id": "l" }),
            target: "/policies/usage-limits/l",
        },
    ];
    for Case { tool, args, target } in cases {
        let sent = build_request(tool, &args).map(|(target, _)| target);
        assert_eq!(sent.as_deref(), Ok(target), "{tool} {args}");
    }
    let twice = build_request("get-config", &json!({ "config_slug": "c", "slug": "d" }));
    assert_eq!(
        twice.unwrap_err(),
        ["`config_slug`: is given twice with different values, as `config_slug` and `slug`"]
    );
}

#[test]
fn id_of_an_entity_with_a_slug_is_its_slug() {
    for (tool, args, target) in [
        // So in the examples of the Python SDK.
        ("delete-config", json!({ "id": "pc-a" }), "/configs/pc-a"),
        (
            "get-config",
            json!({ "config_id": "pc-a" }),
            "/configs/pc-a",
        ),
        (
            "get-integration",
            json!({ "integrationId": "i" }),
            "/integrations/i",
        ),
        (
            "list-integration-models",
            json!({ "integration_id": "i" }),
            "/integrations/i/models",
        ),
    ] {
        let sent = build_request(tool, &args).map(|(target, _)| target);
        assert_eq!(sent.as_deref(), Ok(target), "{tool} {args}");
    }
    // An integration has an id, too, which its path does not take.
    let uuid = json!({ "integration_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7" });
    assert_eq!(
        build_request("get-integration", &uuid).unwrap_err(),
        [
            "`integration_id`: is a UUID; this takes the slug, as `slug`",
            "`slug`: is required"
        ]
    );
}

#[test]
fn arguments_in_a_wrapper_count_beside_the_others() {
    for wrapper in [
        "arguments",
        "data",
        "input",
        "params",
        "payload",
        "requestBody",
    ] {
        for args in [
            json!({ "label_id": "l", wrapper: { "name": "n" } }),
            json!({ wrapper: { "labelId": "l", "name": "n" } }),
            json!({ wrapper: r#"{ "label_id": "l", "name": "n" }"# }),
        ] {
            let sent = build_request("update-label", &args);
            let expected = ("/labels/l".to_owned(), json!({ "name": "n" }));
            assert_eq!(sent, Ok(expected), "{args}");
        }
    }
    assert_requests(vec![
        // The form in Portkey's document on policies.
        Case {
            tool: "create-rate-limits-policy",
            args: json!({ "policy": { "conditions": [{ "key": "api_key", "value": "*" }],
                "type": "requests", "unit": "rpm", "value": 5 } }),
            target: "/policies/rate-limits",
            body: json!({ "conditions": [{ "key": "api_key", "value": "*" }],
                "type": "requests", "unit": "rpm", "value": 5 }),
        },
        // Around the arguments of a read.
        Case {
            tool: "get-prompt",
            args: json!({ "prompt_id": "p", "body": { "version": "latest" } }),
            target: "/prompts/p?version=latest",
            body: Value::Null,
        },
        // An argument of that name.
        Case {
            tool: "update-prompt",
            args: json!({ "prompt_id": "p", "patch": true, "parameters": { "model": "m" } }),
            target: "/prompts/p",
            body: json!({ "patch": true, "parameters": { "model": "m" } }),
        },
        // Something else than arguments.
        Case {
            tool: "update-label",
            args: json!({ "label_id": "l", "name": "n", "data": { "colour": "red" } }),
            target: "/labels/l",
            body: json!({ "name": "n", "data": { "colour": "red" } }),
        },
    ]);
    let twice = json!({ "label_id": "l", "name": "n", "data": { "name": "m" } });
    assert_eq!(
        build_request("update-label", &twice).unwrap_err(),
        ["`name`: is given twice with different values, in `data` and beside it"]
    );
    let dry_run = json!({ "label_id": "l", "data": { "name": "m", "dryRun": true } });
    let errors = build_request("update-label", &dry_run).unwrap_err();
    assert!(errors.concat().contains("cannot be run dry"), "{errors:?}");
}

/// The text has no arguments, so that nothing is parsed, and JSON elsewhere keeps the whole of its limit.
#[test]
fn text_that_is_no_wrapper_does_not_count_as_json() {
    let text = format!("{{{}", ",".repeat(50_000));
    let conditions = json!([{ "key": "api_key", "value": "*" }]);
    let rule = json!({ "type": "requests", "unit": "rpm", "value": 5, "data": text });
    let mut args = rule.clone();
    args["conditions"] = conditions.to_string().into();
    let (_, body) = build_request("create-rate-limits-policy", &args).unwrap();
    assert_eq!(body["conditions"], conditions);
    assert_eq!(body["data"], rule["data"]);
}

#[test]
fn flat_budget_has_the_defaults_of_the_other_server() {
    let budget = json!({ "credit_limit": 5, "periodic_reset": "monthly", "type": "cost" });
    let given = json!({ "credit_limit": 5, "alert_threshold": 4 });
    let flat = |tool, mut args: Value, target| {
        args["credit_limit"] = 5.into();
        let body = json!({ "usage_limits": budget });
        Case {
            tool,
            args,
            target,
            body,
        }
    };
    assert_requests(vec![
        flat("update-provider", json!({ "slug": "p" }), "/providers/p"),
        flat("update-api-key", json!({ "id": "k" }), "/api-keys/k"),
        flat(
            "update-virtual-key",
            json!({ "slug": "v" }),
            "/virtual-keys/v",
        ),
        // An object that the caller wrote says all that is meant.
        Case {
            tool: "update-provider",
            args: json!({ "slug": "p", "usage_limits": { "credit_limit": 5 }, "alert_threshold": 4 }),
            target: "/providers/p",
            body: json!({ "usage_limits": given }),
        },
    ]);
    let catalog = Catalog::full();
    let published = catalog.find("update-provider").unwrap().compiled();
    let args = to_map(&json!({ "slug": "p", "credit_limit": 5 }));
    let validated = published.validate(args, &ValidationOptions::default());
    assert_eq!(
        validated.unwrap().warnings,
        ["`usage_limits.periodic_reset` was not given and is `monthly`"]
    );
}

#[test]
fn flat_arguments_are_nested() {
    assert_requests(vec![
        Case {
            tool: "create-integration",
            args: json!({ "name": "n", "ai_provider_id": "openai", "custom_host": "https://llm.example" }),
            target: "/integrations",
            body: json!({ "name": "n", "ai_provider_id": "openai",
                "configurations": { "custom_host": "https://llm.example" } }),
        },
        Case {
            tool: "create-provider",
            args: json!({ "name": "n", "integration_id": "i", "credit_limit": 10, "usage_limit_type": "cost",
                "rate_limit_value": 5, "rate_limit_unit": "rpm" }),
            target: "/providers",
            body: json!({ "name": "n", "integration_id": "i",
                "usage_limits": { "credit_limit": 10, "type": "cost", "periodic_reset": "monthly" },
                "rate_limits": [{ "value": 5, "unit": "rpm", "type": "requests" }] }),
        },
        Case {
            tool: "add-workspace-member",
            args: json!({ "workspace_id": "w", "user_id": "u", "role": "admin" }),
            target: "/admin/workspaces/w/users",
            body: json!({ "users": [{ "id": "u", "role": "admin" }] }),
        },
        Case {
            tool: "update-api-key",
            args: json!({ "id": "k", "rate_limit_rpm": 5, "default_config_id": "c" }),
            target: "/api-keys/k",
            body: json!({ "rate_limits": [{ "value": 5, "type": "requests", "unit": "rpm" }],
                "defaults": { "config_id": "c" } }),
        },
        Case {
            tool: "create-log-export",
            args: json!({ "time_min": "2026-01-01T00:00:00Z", "time_max": "2026-01-02T00:00:00Z",
                "cost_min": 1, "requested_fields": ["id"] }),
            target: "/logs/exports",
            body: json!({ "filters": { "time_of_generation_min": "2026-01-01T00:00:00Z",
                "time_of_generation_max": "2026-01-02T00:00:00Z", "cost_min": 1 }, "requested_data": ["id"] }),
        },
        Case {
            tool: "create-config",
            args: json!({ "name": "n", "cache_mode": "simple", "retry_attempts": 2,
                "strategy_mode": "loadbalance", "targets": [{ "provider": "p" }, { "provider": "q" }] }),
            target: "/configs",
            body: json!({ "name": "n", "config": { "cache": { "mode": "simple" }, "retry": { "attempts": 2 },
                "strategy": { "mode": "loadbalance" }, "targets": [{ "provider": "p" }, { "provider": "q" }] } }),
        },
        Case {
            tool: "insert-log",
            args: json!({ "request_url": "https://h/x", "request_body": { "model": "m" },
                "response_body": {}, "metadata_trace_id": "t", "metadata_custom": { "team": "x" } }),
            target: "/logs",
            body: json!({ "request": { "url": "https://h/x", "body": { "model": "m" } },
                "response": { "body": {} }, "metadata": { "traceId": "t", "team": "x" } }),
        },
        Case {
            tool: "render-prompt",
            args: json!({ "prompt_id": "p", "variables": {}, "hyperparameters": { "top_p": 1 } }),
            target: "/prompts/p/render",
            body: json!({ "variables": {}, "top_p": 1 }),
        },
        Case {
            tool: "update-prompt",
            args: json!({ "prompt_id": "p", "patch": true, "messages": [{ "role": "user", "content": "c" }] }),
            target: "/prompts/p",
            body: json!({ "patch": true, "string": r#"[{"role":"user","content":"c"}]"# }),
        },
        Case {
            tool: "update-integration-workspaces",
            args: json!({ "slug": "i", "workspaces": [], "global_workspace_access_enabled": true,
                "global_rate_limit_rpm": 5 }),
            target: "/integrations/i/workspaces",
            body: json!({ "workspaces": [], "global_workspace_access": { "enabled": true,
                "rate_limits": [{ "value": 5, "type": "requests", "unit": "rpm" }] } }),
        },
    ]);
}

#[test]
fn lists_of_other_servers_replace_the_text_form() {
    let query = json!({ "time_of_generation_min": "2026-01-01T00:00:00Z",
        "time_of_generation_max": "2026-01-02T00:00:00Z",
        "status_code": "400", "status_codes": ["500", "502"] });
    let (target, _) = build_request("get-cost-analytics", &query).unwrap();
    assert!(target.contains("status_code=500%2C502"), "{target}");
    let catalog = Catalog::full();
    let published = catalog.find("get-cost-analytics").unwrap().compiled();
    let validated = published
        .validate(to_map(&query), &ValidationOptions::default())
        .unwrap();
    let warnings = validated.warnings.join("\n");
    assert!(
        warnings.contains("`status_code` was left out"),
        "{warnings}"
    );
}

#[test]
fn body_is_unwrapped() {
    assert_requests(vec![
        Case {
            tool: "update-integration",
            args: json!({ "slug": "i", "body": { "name": "n" } }),
            target: "/integrations/i",
            body: json!({ "name": "n" }),
        },
        Case {
            tool: "update-integration",
            args: json!({ "slug": "i", "body": "{\"name\": \"n\"}" }),
            target: "/integrations/i",
            body: json!({ "name": "n" }),
        },
        Case {
            tool: "update-mcp-server",
            args: json!({ "body": { "id": "s1", "name": "n" } }),
            target: "/mcp-servers/s1",
            body: json!({ "name": "n" }),
        },
        Case {
            tool: "insert-log",
            args: json!({ "body": [{ "request": { "url": "https://h/x", "body": {} }, "response": { "body": {} } }] }),
            target: "/logs",
            body: json!([{ "request": { "url": "https://h/x", "body": {} }, "response": { "body": {} } }]),
        },
    ]);
    let errors = build_request(
        "update-integration",
        &json!({ "slug": "i", "name": "a", "body": { "name": "b" } }),
    );
    assert_eq!(
        errors.unwrap_err(),
        ["`name`: is given twice with different values, in `body` and beside it"]
    );
}

#[test]
fn aliases_in_items_of_a_list_name_their_item() {
    let args = json!({ "slug": "i", "workspaces": [{ "id": "a", "enabled": true },
        { "id": "b", "enabled": true, "credit_limit": 1, "usage_limits": [{ "credit_limit": 2 }] }] });
    assert_eq!(
        build_request("update-integration-workspaces", &args).unwrap_err(),
        [
            "`workspaces[1].credit_limit`: is given twice with different values, as `credit_limit` and `usage_limits[].credit_limit`"
        ]
    );
    let text = json!({ "slug": "i", "workspaces": "[{\"id\":\"a\",\"enabled\":true,\"rate_limit_rpm\":3}]" });
    let (_, body) = build_request("update-integration-workspaces", &text).unwrap();
    assert_eq!(body["workspaces"][0]["rate_limits"][0]["value"], 3);
}

#[test]
fn what_documents_call_invalid_is_sent_with_a_warning() {
    let catalog = Catalog::full();
    let update = catalog.find("update-provider").unwrap().compiled();
    let args = json!({ "slug": "p", "usage_limits": { "credit_limit": 1, "alert_threshold": 2,
        "periodic_reset": "monthly", "periodic_reset_days": 3 } });
    let warnings = update
        .validate(to_map(&args), &ValidationOptions::default())
        .unwrap()
        .warnings
        .join("\n");
    assert!(
        warnings.contains("`usage_limits.alert_threshold` is not below `credit_limit`, 1")
            && warnings.contains("at most one of `periodic_reset`, `periodic_reset_days`"),
        "{warnings}"
    );
}

#[test]
fn alias_beside_another_value_is_rejected() {
    let errors = build_request(
        "update-mcp-server",
        &json!({ "id": "a", "mcp_server_id": "b", "name": "n" }),
    );
    assert_eq!(
        errors.unwrap_err(),
        ["`id`: is given twice with different values, as `id` and `mcp_server_id`"]
    );
    let same = json!({ "id": "a", "mcp_server_id": "a", "name": "n" });
    assert!(build_request("update-mcp-server", &same).is_ok());
}

#[test]
fn parts_of_a_document_warn_of_what_an_update_removes() {
    let catalog = Catalog::full();
    let update = catalog.find("update-config").unwrap().compiled();
    let validate = |args: Value| {
        update
            .validate(to_map(&args), &ValidationOptions::default())
            .unwrap()
            .warnings
            .join("\n")
    };
    let part = validate(json!({ "slug": "c", "retry": { "attempts": 2 } }));
    assert!(part.contains("`config` was replaced as a whole"), "{part}");
    let whole = validate(json!({ "slug": "c", "config": { "retry": { "attempts": 2 } } }));
    assert!(!whole.contains("replaced as a whole"), "{whole}");
}

#[test]
fn update_without_a_change_is_rejected_whatever_else_is_missing() {
    for (tool, args) in [
        ("update-user", json!({ "user_id": "u" })),
        ("update-collection", json!({ "collection_id": "c" })),
        ("update-log-export", json!({ "export_id": "e" })),
        ("update-prompt", json!({ "prompt_id": "p" })),
    ] {
        let errors = build_request(tool, &args).unwrap_err();
        let first = errors.first().unwrap();
        assert!(
            first.starts_with("nothing to change is given"),
            "{tool}: {first}"
        );
    }
}

#[test]
fn dry_run_is_not_sent_as_an_unknown_argument() {
    let call = |name: &str, dry_run: Value| {
        let mut args = json!({ "prompt_id": "p", "name": "n" });
        args[name] = dry_run.clone();
        let in_body = json!({ "prompt_id": "p", "body": { "name": "n", name: dry_run } });
        [args, in_body].map(|args| build_request("update-prompt", &args))
    };
    for name in ["dry_run", "dryRun", "dry-run", "DRY_RUN", "dryrun"] {
        for off in [json!(false), json!("false"), Value::Null] {
            for sent in call(name, off) {
                assert_eq!(sent.unwrap().1, json!({ "name": "n" }), "{name}");
            }
        }
        for on in [json!(true), json!("true"), json!(1), json!({})] {
            for sent in call(name, on) {
                let errors = sent.unwrap_err();
                assert!(
                    errors[0].contains("cannot be run dry"),
                    "{name}: {errors:?}"
                );
            }
        }
    }
}

/// Sent as an unknown argument, a patch would change nothing, and its guard would hold nothing back.
#[test]
fn patch_and_guard_are_not_sent_as_unknown_arguments() {
    let patch = json!({ "name": "n" });
    for args in [
        json!({ "slug": "c", "body": { "patch": patch } }),
        json!({ "slug": "c", "body": r#"{"patch":{"name":"n"}}"# }),
        json!({ "slug": "c", "Patch": patch }),
        json!({ "slug": "c", "name": "n", "Expect": { "name": "m" } }),
        json!({ "slug": "c", "body": { "name": "n", "expect": { "name": "m" } } }),
    ] {
        let errors = build_request("update-config", &args).unwrap_err();
        assert!(errors[0].contains("beside the ids"), "{args}: {errors:?}");
    }
}

#[test]
fn aliases_pass_where_unknown_arguments_do_not() {
    let catalog = Catalog::full();
    let options = ValidationOptions {
        unknown_fields: UnknownFields::Deny,
        ..ValidationOptions::default()
    };
    let delete = catalog.find("delete-mcp-server").unwrap().compiled();
    assert!(
        delete
            .validate(to_map(&json!({ "id": "s" })), &options)
            .is_ok()
    );
}

/// An alias that is an argument itself would never apply, and one that leads to no argument would send
/// what nobody checks.
#[test]
fn aliases_are_no_arguments_and_lead_to_one() {
    // Filters of analytics are listed in the description and not declared.
    const UNDECLARED: [&str; 10] = [
        "ai_org_model",
        "apiVersion",
        "configs",
        "deploymentName",
        "metadata",
        "resourceName",
        "span_id",
        "status_code",
        "trace_id",
        "virtual_keys",
    ];
    for entry in Catalog::full().iter() {
        let tool = entry.operation.name();
        let compiled = entry.compiled();
        let properties = compiled.full_schema()["properties"].as_object();
        let is_argument = |name: &str| properties.is_some_and(|all| all.contains_key(name));
        let mut names = Vec::new();
        for alias in compiled.argument_aliases() {
            let name = alias.name();
            assert!(!is_argument(name), "{tool}: `{name}` is an argument");
            assert!(!names.contains(&name), "{tool}: `{name}` is declared twice");
            names.push(name);
            let target = alias.target().split(['.', '[']).next().unwrap();
            assert!(
                target.is_empty() || is_argument(target) || UNDECLARED.contains(&target),
                "{tool}: `{target}` is no argument"
            );
        }
    }
}

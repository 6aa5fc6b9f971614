//! Unknown arguments, other spellings, nulls and times: what is sent, and what is reported.

mod every_argument;
mod reports;
mod times;

use portkey_api::catalog::Catalog;
use portkey_operation::{Clock, JsonMap, UnknownFields, ValidatedArguments, ValidationOptions};
use serde_json::{Value, json};

/// Sunday, 29 November 2026, 10:30 UTC.
const NOW: i64 = 1_795_948_200;

fn validate_with(
    unknown_fields: UnknownFields,
    tool: &str,
    args: &Value,
) -> Result<ValidatedArguments, String> {
    let catalog = Catalog::full();
    let options = ValidationOptions {
        unknown_fields,
        clock: Clock::system().with_now(|| NOW),
    };
    let published = catalog.find(tool).unwrap().compiled();
    let validated = published.validate(args.as_object().unwrap().clone(), &options);
    validated.map_err(|error| error.to_string())
}

fn validate(tool: &str, args: &Value) -> Result<ValidatedArguments, String> {
    validate_with(UnknownFields::Warn, tool, args)
}

struct NormalizedCase {
    what: &'static str,
    tool: &'static str,
    args: Value,
    travels: Value,
    warnings: &'static [&'static str],
}

#[test]
fn tolerated_arguments_are_normalized_with_warnings() {
    let cases = [
        NormalizedCase {
            what: "an unknown field travels, and is named",
            tool: "create-collection",
            args: json!({ "name": "n", "colour": { "a": [1] } }),
            travels: json!({ "name": "n", "colour": { "a": [1] } }),
            warnings: &["`colour` is not known to this version and was passed on unchecked"],
        },
        NormalizedCase {
            what: "several at several depths are named together",
            tool: "bulk-update-integration-workspaces",
            args: json!({ "slug": "i", "workspaces": [{ "id": "w", "enabled": true, "x": 1 }], "y": 2 }),
            travels: json!({ "slug": "i", "workspaces": [{ "id": "w", "enabled": true, "x": 1 }], "y": 2 }),
            warnings: &[
                "`y`, `workspaces[0].x` are not known to this version and were passed on unchecked",
            ],
        },
        NormalizedCase {
            what: "a name in another case, in its place",
            tool: "create-collection",
            args: json!({ "workspaceId": "w", "Name": "n" }),
            travels: json!({ "workspace_id": "w", "name": "n" }),
            warnings: &[],
        },
        NormalizedCase {
            what: "a name with other separators, where the API writes camel case",
            tool: "list-users",
            args: json!({ "page_size": 5, "current-page": 1 }),
            travels: json!({ "pageSize": 5, "currentPage": 1 }),
            warnings: &[],
        },
        NormalizedCase {
            what: "the same value under both names",
            tool: "list-users",
            args: json!({ "page_size": 5, "pageSize": 5 }),
            travels: json!({ "pageSize": 5 }),
            warnings: &[],
        },
        NormalizedCase {
            what: "a singular for a plural, reported",
            tool: "get-cost-graph",
            args: json!({
                "workspace_slug": "w", "virtual_key": "v",
                "time_of_generation_min": "2026-11-01T00:00:00Z",
                "time_of_generation_max": "2026-11-02T00:00:00Z",
            }),
            travels: json!({
                "workspace_slug": "w", "virtual_keys": "v",
                "time_of_generation_min": "2026-11-01T00:00:00Z",
                "time_of_generation_max": "2026-11-02T00:00:00Z",
            }),
            warnings: &["`virtual_key` was taken as `virtual_keys`"],
        },
        NormalizedCase {
            what: "what a client adds for itself is left out",
            tool: "list-all-integrations",
            args: json!({ "page_size": 1, "toolCallId": "call_x" }),
            travels: json!({ "page_size": 1 }),
            warnings: &["left out, because the client's own: `toolCallId`"],
        },
        NormalizedCase {
            what: "empty filters ask for nothing",
            tool: "list-all-integrations",
            args: json!({ "workspace_id": "", "type": " ", "page_size": 2 }),
            travels: json!({ "page_size": 2 }),
            warnings: &["left out, because empty: `workspace_id`, `type`"],
        },
        NormalizedCase {
            what: "null in a read",
            tool: "list-all-integrations",
            args: json!({ "workspace_id": null, "page_size": 2 }),
            travels: json!({ "page_size": 2 }),
            warnings: &["left out, because null: `workspace_id`"],
        },
        NormalizedCase {
            what: "a name in American spelling, as the Python SDK has it",
            tool: "create-label",
            args: json!({ "name": "n", "organization_id": "o" }),
            travels: json!({ "name": "n", "organisation_id": "o" }),
            warnings: &[],
        },
        NormalizedCase {
            what: "an enum in American spelling",
            tool: "list-all-integrations",
            args: json!({ "type": "organization" }),
            travels: json!({ "type": "organisation" }),
            warnings: &[],
        },
        NormalizedCase {
            what: "0 or 1 for a truth value",
            tool: "update-api-key",
            args: json!({ "id": "k", "reset_usage": 1 }),
            travels: json!({ "id": "k", "reset_usage": true }),
            warnings: &[],
        },
        NormalizedCase {
            what: "a truth value for 0 or 1",
            tool: "update-prompt",
            args: json!({ "prompt_id": "p", "patch": 1.0, "is_raw_template": true }),
            travels: json!({ "prompt_id": "p", "patch": true, "is_raw_template": 1 }),
            warnings: &[],
        },
        NormalizedCase {
            what: "one object for a list of them",
            tool: "update-workspace",
            args: json!({ "workspace_id": "w", "usage_limits": { "type": "cost", "credit_limit": 5 } }),
            travels: json!({ "workspace_id": "w",
                "usage_limits": [{ "type": "cost", "credit_limit": 5 }] }),
            warnings: &[],
        },
        NormalizedCase {
            what: "an enum in another case",
            tool: "list-all-integrations",
            args: json!({ "type": "Workspace" }),
            travels: json!({ "type": "workspace" }),
            warnings: &[],
        },
        NormalizedCase {
            what: "a time with blanks around it, and an empty one",
            tool: "create-provider",
            args: json!({ "name": "n", "integration_id": "i", "expires_at": " 2027-01-01T00:00:00Z ",
                "usage_limits": { "next_usage_reset_at": "" } }),
            travels: json!({ "name": "n", "integration_id": "i", "expires_at": "2027-01-01T00:00:00Z",
                "usage_limits": {} }),
            warnings: &["left out, because empty: `usage_limits.next_usage_reset_at`"],
        },
        NormalizedCase {
            what: "an expiry in the past",
            tool: "create-provider",
            args: json!({ "name": "n", "integration_id": "i", "expires_at": "2020-01-01T00:00:00Z" }),
            travels: json!({ "name": "n", "integration_id": "i", "expires_at": "2020-01-01T00:00:00Z" }),
            warnings: &["`expires_at` lies in the past: `2020-01-01T00:00:00Z`"],
        },
        NormalizedCase {
            what: "whole numbers written as floats",
            tool: "list-all-integrations",
            args: json!({ "page_size": 2.0, "current_page": "1.0" }),
            travels: json!({ "page_size": 2, "current_page": 1 }),
            warnings: &[],
        },
    ];
    for case in cases {
        let got = validate(case.tool, &case.args).unwrap_or_else(|e| panic!("{}: {e}", case.what));
        let travels = case.travels.as_object().unwrap();
        // In the given order as well.
        assert_eq!(
            json!(got.args).to_string(),
            json!(travels).to_string(),
            "{}",
            case.what
        );
        assert_eq!(got.warnings, case.warnings, "{}", case.what);
    }
}

#[test]
fn ambiguous_and_misspelt_arguments_are_rejected() {
    struct Case {
        tool: &'static str,
        args: Value,
        expected: &'static str,
    }

    let cases = [
        Case {
            tool: "create-label",
            args: json!({ "nam": "x" }),
            expected: "`nam`: no such argument, did you mean `name`?",
        },
        Case {
            tool: "create-label",
            args: json!({ "naem": "x" }),
            expected: "did you mean `name`?",
        },
        Case {
            tool: "list-users",
            args: json!({ "page_size": 5, "pageSize": 6 }),
            expected: "given twice with different",
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "page_size": 0 }),
            expected: "at least 1, got 0",
        },
        Case {
            tool: "list-all-integrations",
            args: json!({ "page_size": 2.5 }),
            expected: "whole number, got 2.5",
        },
        Case {
            tool: "update-api-key",
            args: json!({ "id": "k", "reset_usage": 2 }),
            expected: "takes true or false, got a number",
        },
        Case {
            tool: "update-workspace",
            args: json!({ "workspace_id": "w", "usage_limits": { "credit_limit": 0.5 } }),
            expected: "`usage_limits[0].credit_limit`: takes a whole number",
        },
        Case {
            tool: "update-usage-limits-policy",
            args: json!({ "policy_usage_limits_id": "p", "alert_threshold": 0 }),
            expected: "`alert_threshold`: takes a number above 0",
        },
        Case {
            tool: "create-label",
            args: json!({ "name": "x", "name.y": 1 }),
            expected: "`name.y`: is a path",
        },
        Case {
            tool: "update-provider",
            args: json!({ "slug": "p", "usage_limits": {} }),
            expected: "nothing to change is given; it takes `name`",
        },
        Case {
            tool: "get-config",
            args: json!({ "slug": "x", "fields": "slug" }),
            expected: "`fields`: only tools that list",
        },
        Case {
            tool: "get-log-export",
            args: json!({ "exportt": "x" }),
            expected: "- `export_id`: is required\n- `exportt`: is not known, did you mean `export_id`?",
        },
        Case {
            tool: "create-label",
            args: json!({ "name": "x", "a\nb": 1 }),
            expected: "no argument has such a name",
        },
        Case {
            tool: "update-label",
            args: json!({ "label_id": "l" }),
            expected: "nothing to change is given; it takes `name`",
        },
        Case {
            tool: "update-label",
            args: json!({ "label_id": "l", "name": null }),
            expected: "`name`: cannot be cleared by null",
        },
        Case {
            tool: "update-provider",
            args: json!({ "slug": "p", "workspace_id": "w" }),
            expected: "nothing to change is given; it takes `name`",
        },
    ];
    for Case {
        tool,
        args,
        expected,
    } in cases
    {
        let error = validate(tool, &args).expect_err(&format!("{tool} {args}"));
        assert!(error.contains(expected), "{tool} {args}: {error}");
    }
}

#[test]
fn unknown_fields_follow_the_configured_mode() {
    let args = json!({ "name": "n", "colour": 1, "shade": 2 });
    let allowed = validate_with(UnknownFields::Allow, "create-collection", &args).unwrap();
    assert_eq!(
        (allowed.warnings.len(), allowed.unknown),
        (0, vec!["colour".into(), "shade".into()])
    );
    let denied = validate_with(UnknownFields::Deny, "create-collection", &args).unwrap_err();
    assert_eq!(
        denied,
        "2 arguments are wrong:\n\
         - `colour`: no such argument; it takes `name`, `workspace_id`, `parent_collection_id`\n\
         - `shade`: no such argument"
    );
}

/// The report is bounded for any input.
#[test]
fn report_of_many_unknown_fields_is_bounded() {
    let many: JsonMap = (0..9_000).map(|i| (format!("zz{i}"), json!(1))).collect();
    let mut args = json!({ "name": "n" });
    args.as_object_mut().unwrap().extend(many);
    let denied = validate_with(UnknownFields::Deny, "create-collection", &args).unwrap_err();
    assert!(denied.len() < 2_000, "{} bytes", denied.len());
    assert!(denied.ends_with("- and 8980 more"), "{denied}");
    let refused = validate("create-collection", &args).unwrap_err();
    assert!(
        refused.contains("9000 arguments are not known; at most 100 may be"),
        "{refused}"
    );
    assert!(refused.len() < 2_000, "{} bytes", refused.len());
    let some: JsonMap = (0..100).map(|i| (format!("zz{i}"), json!(1))).collect();
    let passed = validate(
        "create-collection",
        &Value::Object(
            some.into_iter()
                .chain([("name".to_owned(), json!("n"))])
                .collect(),
        ),
    )
    .unwrap();
    assert_eq!((passed.unknown.len(), passed.warnings.len()), (100, 1));
    assert!(
        passed.warnings[0].contains("and 80 more are not known"),
        "{:?}",
        passed.warnings
    );
}

//! Reports of upstream errors: the cause that the upstream names at any depth, without guesses
//! beside it.

use portkey_mcp::{
    auth::principal::{AuthMethod, KeySource, Principal, UpstreamKey},
    security::secrets::MASK,
};
use serde_json::{Value, json};

use super::{call, call_as, create_arguments};
use crate::support::upstream::{MockUpstream, dispatcher, http_response, operator};

/// Calls a tool whose upstream responds with this status and body, and returns the error text.
async fn error_text(status: &'static str, body: Value, tool: &str, args: Value) -> String {
    error_text_as(&operator(), status, body, tool, args).await
}

async fn error_text_as(
    principal: &Principal,
    status: &'static str,
    body: Value,
    tool: &str,
    args: Value,
) -> String {
    let body = body.to_string();
    let json = "content-type: application/json\r\n";
    let upstream = MockUpstream::start(move |_| http_response(status, json, &body)).await;
    call_as(principal, &dispatcher(&upstream), tool, args)
        .await
        .unwrap_err()
}

struct NestedErrorCase {
    body: Value,
    /// The lines between the first one and our advice.
    details: &'static [&'static str],
    /// The end of the first line.
    message: &'static str,
}

/// Every place where APIs put the causes of a failed validation.
#[tokio::test]
async fn nested_details_are_listed_below_the_message() {
    let cases = [
        NestedErrorCase {
            body: json!({"success": false, "data": {
                "message": "Invalid request. Please check and try again.",
                "errorCode": "AB01",
                "errors": [
                    {"field": "name", "message": "is too long", "max": 50, "value": "x"},
                    "one more",
                ],
            }}),
            message: "400 AB01: Invalid request. Please check and try again.",
            details: &["- `name`: is too long (max 50)", "- one more"],
        },
        NestedErrorCase {
            body: json!({"message": "Validation Failed", "errors": [
                {"resource": "Integration", "field": "slug", "code": "already_exists"},
            ]}),
            message: "400: Validation Failed",
            details: &["- `slug`: already_exists"],
        },
        NestedErrorCase {
            body: json!({"error": {"message": "Bad body", "details": {
                "name": ["is required", "is no text"],
                "configurations": {"aws_region": "is unknown here"},
                "limit": 5,
            }}}),
            message: "400: Bad body",
            details: &[
                "- `name`: is required",
                "- `name`: is no text",
                "- `configurations.aws_region`: is unknown here",
                "- `limit`: 5",
            ],
        },
        NestedErrorCase {
            body: json!({"detail": [
                {"loc": ["body", "name"], "msg": "field required", "type": "missing", "input": {"key": "v"}},
                {"loc": ["body", "key"], "msg": "too short", "type": "short"},
            ]}),
            message: "400: `body.name`: field required",
            details: &["- `body.key`: too short"],
        },
        NestedErrorCase {
            body: json!({"success": false, "error": {"name": "ZodError", "issues": [
                {"code": "invalid_type", "expected": "string", "received": "number", "path": ["name"],
                 "message": "Expected string"},
                {"code": "invalid_union", "path": ["a", 0], "message": "Invalid input",
                 "unionErrors": [{"issues": [{"path": ["a", 0, "b"], "message": "Required"}]}]},
            ]}}),
            message: "400: `name`: Expected string (expected string)",
            details: &["- `a.0`: Invalid input", "- `a.0.a.0.b`: Required"],
        },
        NestedErrorCase {
            body: json!({"message": {"name": "is required"}}),
            message: "400: `name`: is required",
            details: &[],
        },
        NestedErrorCase {
            body: json!({"statusCode": 400, "error": "Bad Request",
                "message": ["name must be a string", "key must be set"]}),
            message: "400: Bad Request",
            details: &["- name must be a string", "- key must be set"],
        },
        NestedErrorCase {
            body: json!({"data": {"message": "[{\"path\":[\"name\"],\"message\":\"Required\"}]"}}),
            message: "400: `name`: Required",
            details: &[],
        },
        NestedErrorCase {
            body: json!({"error": {"code": 400, "message": "Invalid", "details": [
                {"@type": "type.example/BadRequest", "fieldViolations": [
                    {"field": "name", "description": "must not be empty"}]},
            ]}}),
            message: "400: Invalid",
            details: &["- `name`: must not be empty"],
        },
        NestedErrorCase {
            body: json!({"title": "Unprocessable", "detail": "The name is taken", "status": 400,
                "invalid-params": [{"name": "n", "reason": "must be unique"}]}),
            message: "400: The name is taken",
            details: &["- must be unique"],
        },
        NestedErrorCase {
            body: json!({"message": "Bad", "errors": [{"property": "name", "constraints":
                {"isString": "name must be text", "minLength": "name must be longer"}}]}),
            message: "400: Bad",
            details: &[
                "- `name`: name must be text",
                "- `name`: name must be longer",
            ],
        },
        NestedErrorCase {
            body: json!({"name": ["This field is required."]}),
            message: "400: `name`: This field is required.",
            details: &[],
        },
        NestedErrorCase {
            body: json!({"error": {"message": "is invalid", "param": "ai_provider_id", "code": null}}),
            message: "400: `ai_provider_id`: is invalid",
            details: &[],
        },
        NestedErrorCase {
            body: json!({"success": false, "data": "The name is taken"}),
            message: "400: The name is taken",
            details: &[],
        },
    ];
    for NestedErrorCase {
        body,
        message,
        details,
    } in cases
    {
        let text = error_text(
            "400 Bad Request",
            body.clone(),
            "create-integration",
            create_arguments(),
        )
        .await;
        let lines: Vec<_> = text.lines().collect();
        let [first, between @ .., _advice] = &lines[..] else {
            panic!("{text}")
        };
        assert!(first.ends_with(message), "{body}: {text}");
        assert_eq!(between, details, "{body}: {text}");
    }
}

#[tokio::test]
async fn error_details_are_bounded_and_masked() {
    let key = "sk-abcdefghijklmnopqrstuvwx0123";
    let mut errors = vec![
        json!({"field": "name", "message": format!("no key {key}\u{200b}\u{202e} here")}),
        json!({"field": "api_key", "message": "a8f5f167f44f4964e6c998dee827110c"}),
        json!({"field": "key", "message": "required"}),
        json!({"field": "description", "message": "x".repeat(5_000)}),
        json!({"path": ["y".repeat(5_000)], "message": "is deep"}),
    ];
    errors.extend((0..500).map(|i| json!(format!("cause number {i}"))));
    let body = json!({"data": {"message": format!("{} {key}", "z".repeat(990)), "errors": errors}});
    let text = error_text(
        "400 Bad Request",
        body,
        "create-integration",
        create_arguments(),
    )
    .await;
    assert!(
        !text.contains("sk-abc") && !text.contains("a8f5f167"),
        "{text}"
    );
    assert!(
        text.contains(&format!("`name`: no key {MASK} here")),
        "{text}"
    );
    assert!(text.contains(&format!("`api_key`: {MASK}")), "{text}");
    assert!(text.contains("`key`: required"), "{text}");
    assert!(
        text.contains("cause number 2") && !text.contains("cause number 3\n"),
        "{text}"
    );
    assert!(text.contains("- and 497 more"), "{text}");
    assert!(text.len() < 4_000, "{}", text.len());
    let deep = (0..60).fold(json!("bottom"), |below, _| json!({"errors": [below]}));
    let text = error_text(
        "400 Bad Request",
        deep,
        "create-integration",
        create_arguments(),
    )
    .await;
    assert!(text.contains("400: Bad Request"), "{text}");
}

struct AdviceCase {
    status: &'static str,
    body: Value,
    tool: &'static str,
    args: Value,
    says: &'static [&'static str],
    says_not: &'static [&'static str],
}

/// The cause that the upstream names comes first, and causes that it rules out are not suggested.
#[tokio::test]
async fn causes_are_suggested_only_if_the_upstream_names_none() {
    let forbidden = || {
        json!({"success": false, "data": {"errorCode": "AB03",
        "message": "You do not have enough permissions to execute this request"}})
    };
    let ab03 = |message: &str| json!({"success": false, "data": {"errorCode": "AB03", "message": message}});
    let ab01 = |message: &str| json!({"success": false, "data": {"errorCode": "AB01", "message": message}});
    let cases = [
        AdviceCase {
            status: "403 Forbidden",
            body: ab03("An Admin key must name a workspace_id"),
            tool: "list-all-configs",
            args: json!({}),
            says: &["403 AB03: An Admin key must name a workspace_id"],
            says_not: &["\n", "things", "scope"],
        },
        AdviceCase {
            status: "403 Forbidden",
            body: forbidden(),
            tool: "list-all-configs",
            args: json!({}),
            says: &["one of three things", "the call named no `workspace_id`"],
            says_not: &["Enterprise", "another workspace", "does not exist"],
        },
        AdviceCase {
            status: "403 Forbidden",
            body: forbidden(),
            tool: "list-all-configs",
            args: json!({"workspace_id": "ws"}),
            says: &["another workspace than the `workspace_id`"],
            says_not: &["named no"],
        },
        AdviceCase {
            status: "403 Forbidden",
            body: forbidden(),
            tool: "get-integration",
            args: json!({"slug": "s"}),
            says: &[
                "below Enterprise",
                "the resource does not exist",
                "Check the id first",
            ],
            says_not: &[],
        },
        AdviceCase {
            status: "400 Bad Request",
            body: ab01("`name` is too long"),
            tool: "create-integration",
            args: create_arguments(),
            says: &["Change `name` and call again"],
            says_not: &["does not say"],
        },
        AdviceCase {
            status: "400 Bad Request",
            body: ab01("ai_provider_id is unknown"),
            tool: "create-integration",
            args: create_arguments(),
            says: &["Change `ai_provider_id` and call again"],
            says_not: &[],
        },
        AdviceCase {
            status: "400 Bad Request",
            body: ab01("Invalid request. Please check and try again."),
            tool: "create-integration",
            args: create_arguments(),
            says: &["does not say which argument"],
            says_not: &["it names"],
        },
        AdviceCase {
            status: "400 Bad Request",
            body: ab01("Workspace override is not enabled"),
            tool: "create-integration",
            args: create_arguments(),
            says: &["the same arguments will be refused again"],
            says_not: &["argument it names", "does not say", "`"],
        },
        AdviceCase {
            status: "409 Conflict",
            body: json!({"data": {"errorCode": "AB07",
                "message": "Unable to delete. Please ensure that all Virtual Keys are deleted"}}),
            tool: "delete-integration",
            args: json!({"slug": "s"}),
            says: &["all Virtual Keys are deleted"],
            says_not: &["\n", "another slug"],
        },
        AdviceCase {
            status: "409 Conflict",
            body: json!({"data": {"errorCode": "AB07", "message": "Conflict"}}),
            tool: "create-integration",
            args: create_arguments(),
            says: &["Choose another slug or name"],
            says_not: &["depends"],
        },
        AdviceCase {
            status: "401 Unauthorized",
            body: json!({"success": false, "data": {"message": "Unauthorised Request"}}),
            tool: "list-audit-logs",
            args: json!({"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-02T00:00:00Z",
                "organisation_id": "o"}),
            says: &["Leave out `organisation_id`"],
            says_not: &["PORTKEY_API_KEY", "revoked"],
        },
        AdviceCase {
            status: "401 Unauthorized",
            body: json!({"success": false, "data": {"message": "This API key has expired"}}),
            tool: "list-all-integrations",
            args: json!({}),
            says: &["has expired", "PORTKEY_API_KEY"],
            says_not: &["revoked", "another Portkey"],
        },
        AdviceCase {
            status: "400 Bad Request",
            body: json!({"status": "failure", "message": "Invalid config passed"}),
            tool: "create-integration",
            args: create_arguments(),
            says: &["Invalid config passed"],
            says_not: &["no such endpoint"],
        },
        AdviceCase {
            status: "200 OK",
            body: json!({"success": false}),
            tool: "get-integration",
            args: json!({"slug": "s"}),
            says: &["200: the answer says that it failed, and not why"],
            says_not: &["200: OK", "it names"],
        },
    ];
    for AdviceCase {
        status,
        body,
        tool,
        args,
        says,
        says_not,
    } in cases
    {
        let text = error_text(status, body, tool, args).await;
        for part in says {
            assert!(text.contains(part), "missing {part:?}: {text}");
        }
        // The first line quotes the name of the tool.
        let after = text.split_once(": ").unwrap().1;
        for part in says_not {
            let place = if *part == "`" {
                text.lines().last().unwrap()
            } else {
                after
            };
            assert!(!place.contains(part), "has {part:?}: {text}");
        }
    }
}

/// The party that can replace a rejected key depends on its owner.
#[tokio::test]
async fn advice_for_a_rejected_key_depends_on_its_owner() {
    struct Case {
        principal: Principal,
        says: &'static str,
        says_not: &'static str,
    }

    let body = || json!({"success": false, "data": {"message": "Unauthorised Request"}});
    let with = |method: AuthMethod, source: KeySource| {
        let mut principal = operator();
        principal.method = method;
        principal.credentials.portkey = Some(UpstreamKey::new(source, &"pk-other".into()).unwrap());
        principal
    };
    let env = || KeySource::Env("PORTKEY_API_KEY".to_owned());
    let cases = [
        Case {
            principal: with(AuthMethod::Local, env()),
            says: "Check PORTKEY_API_KEY",
            says_not: "operator",
        },
        Case {
            principal: with(AuthMethod::Key, KeySource::Request),
            says: "The key came with this request",
            says_not: "PORTKEY_API_KEY",
        },
        Case {
            principal: with(AuthMethod::Token, env()),
            says: "tell its operator",
            says_not: "came with this request",
        },
    ];
    for Case {
        principal,
        says,
        says_not,
    } in cases
    {
        let text = error_text_as(
            &principal,
            "401 Unauthorized",
            body(),
            "list-all-integrations",
            json!({}),
        );
        let text = text.await;
        assert!(text.contains(says) && !text.contains(says_not), "{text}");
    }
}

/// A dry run states in words why the current state cannot be read.
#[tokio::test]
async fn dry_run_explains_why_the_current_state_is_unknown() {
    let body = r#"{"success":false,"data":{"message":"No such integration","errorCode":"AB08"}}"#;
    let upstream = MockUpstream::start(move |_| {
        http_response("404 Not Found", "content-type: application/json\r\n", body)
    })
    .await;
    let dispatcher = dispatcher(&upstream).with_dry_run(true);
    let args = json!({"slug": "s", "name": "New"});
    let result = call(&dispatcher, "update-integration", args).await.unwrap();
    let note = result["note"].as_str().unwrap();
    assert!(
        note.contains("`get-integration` was refused with 404: No such integration"),
        "{note}"
    );
    assert!(!note.contains("GET /"), "{note}");
}

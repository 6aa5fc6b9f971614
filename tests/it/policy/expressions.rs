//! `when:` expressions: their variables, their restrictions, and that an error denies.

use portkey_policy::{MAX_ARGUMENT_TEXT_BYTES, MAX_ARGUMENT_VALUES};
use serde_json::json;

use super::*;

/// Returns a policy with one rule that denies when the expression is true.
fn deny_when(expression: &str) -> String {
    let expression = serde_json::to_string(expression).unwrap();
    format!("version: '1'\nrules: [{{ name: r, action: deny, when: {expression} }}]")
}

#[tokio::test]
async fn expressions_read_the_fields_of_the_call() {
    let args = json!({
        "name": "prod-key", "n": 5, "f": 2.5, "scopes": ["logs.list", "keys.create"],
        "deep": { "flag": true, "x-y": 1 }, "nothing": null, "when": "2027-01-01T00:00:00Z",
    });
    let cases = [
        ("args.n == 5 && args.f > 2 && args.n + 1 == 6", true),
        (
            "args.name.startsWith('prod-') && size(args.name) == 8",
            true,
        ),
        ("args.name.matches('^(prod|live)-[a-z]+$')", true),
        ("args.name.matches('^live')", false),
        ("args.scopes.exists(s, s.matches('[.]create$'))", true),
        ("args.scopes.all(s, s.startsWith('logs.'))", false),
        (
            "args.scopes.filter(s, s.contains('keys')).size() == 1",
            true,
        ),
        ("'logs.list' in args.scopes && !('x' in args.scopes)", true),
        (
            "has(args.deep.flag) && args.deep.flag && args.deep['x-y'] == 1",
            true,
        ),
        ("has(args.missing)", false),
        ("args.nothing == null", true),
        (
            "tool == 'create-api-key' && domain == 'api-keys' && effect == 'create'",
            true,
        ),
        (
            "principal == 'someone' && client == 'test' && transport == 'http' && session == ''",
            true,
        ),
        ("tainted", false),
        ("time.getDayOfWeek() == 2 && time.getHours() == 14", true),
        ("time.getHours('Europe/Berlin') == 15", true),
        (
            "timestamp('2026-03-01T12:10:00Z').getHours('+05:30') == 17",
            true,
        ),
        (
            "timestamp('2026-03-01T12:10:00Z').getHours('-02:30') == 9",
            true,
        ),
        (
            "timestamp('2026-03-29T00:59:59Z').getHours('Europe/Berlin') == 1 \
             && timestamp('2026-03-29T01:00:00Z').getHours('Europe/Berlin') == 3",
            true,
        ),
        (
            "timestamp('2026-12-31T23:59:58+01:00').getFullYear() == 2026 \
             && timestamp('2026-12-31T23:59:58+01:00').getMonth() == 11 \
             && timestamp('2026-12-31T23:59:58+01:00').getDate() == 31",
            true,
        ),
        (
            "timestamp('2026-03-01T22:59:58Z').getDayOfMonth() == 0 \
             && timestamp('2026-03-01T22:59:58Z').getDayOfYear() == 59 \
             && timestamp('2026-03-01T22:59:58Z').getDayOfWeek() == 0",
            true,
        ),
        (
            "timestamp('2026-03-01T22:59:58Z').getMinutes() == 59 \
             && timestamp('2026-03-01T22:59:58Z').getSeconds() == 58",
            true,
        ),
        (
            "time - timestamp('2026-01-01T00:00:00Z') > duration('24h')",
            true,
        ),
        ("timestamp(args.when) > time + duration('1h30m')", true),
        ("timestamp(args.when) > time + duration('9000h')", false),
        (
            "time > timestamp('2026-01-01T00:00:00Z') && time < timestamp('2027-01-01T00:00:00Z')",
            true,
        ),
        (
            "effect in ['create', 'update', 'delete'] ? args.n > 100 : false",
            false,
        ),
    ];
    for (expression, truth) in cases {
        let expected = if truth {
            "deny r: the policy rule `r` denies `create-api-key`"
        } else {
            "allow"
        };
        assert_decisions(
            &deny_when(expression),
            &[DecisionCase {
                tool: "create-api-key",
                args: args.clone(),
                expected,
            }],
        )
        .await;
    }
}

#[tokio::test]
async fn evaluation_error_denies_without_showing_values() {
    let args = json!({ "key": "sk-secret", "list": [1], "n": 1 });
    let cases = [
        (
            "args.missing == 1",
            "there is no `missing`; ask `has(…)` first",
        ),
        ("args.key + 1 == 2", ""),
        ("args.key > 1", "`>` does not go with string and int"),
        ("args.list[3] == 1", "a list has fewer items"),
        ("args.n / 0 == 1", "a division by zero"),
        ("args.key", "it is neither true nor false"),
        ("int(args.key) == 1", ""),
        ("timestamp(args.key) == time", ""),
        ("time.getHours(args.key) == 1", ""),
        ("time.getHours('+24:00') == 1", ""),
        ("time.getHours(args.n) == 1", ""),
        ("duration(args.key) == 1", ""),
        ("args.n.matches('1')", ""),
        ("size(args.n) == 1", ""),
    ];
    for (expression, words) in cases {
        for action in ["deny", "allow", "approve", "dry_run"] {
            let policy = parse_policy(
                &deny_when(expression).replace("action: deny", &format!("action: {action}")),
            );
            let store = Store::in_memory();
            let text = describe_decision(
                &evaluate(&[&policy], TEST_CALLER, &store, ("create-api-key", &args)).await,
            );
            assert!(
                text.starts_with("deny r") && text.contains(words),
                "{expression}: {text}"
            );
            assert!(
                text.contains("cannot be evaluated") && !text.contains("sk-secret"),
                "{text}"
            );
        }
    }
    // Short-circuit evaluation is not an error.
    let safe = "has(args.missing) && args.missing == 1";
    assert_decisions(
        &deny_when(safe),
        &[DecisionCase {
            tool: "create-api-key",
            args,
            expected: "allow",
        }],
    )
    .await;
}

#[tokio::test]
async fn too_large_arguments_are_denied_unevaluated() {
    let many: Vec<u32> = (0..=u32::try_from(MAX_ARGUMENT_VALUES).unwrap()).collect();
    let large = "deny r: the policy rule `r` denies `create-api-key`: it cannot be evaluated: `when`: the arguments are too large";
    let expression = deny_when("'x' in args.scopes");
    assert_decisions(
        &expression,
        &[
            DecisionCase {
                tool: "create-api-key",
                args: json!({ "scopes": many }),
                expected: large,
            },
            DecisionCase {
                tool: "create-api-key",
                args: json!({ "scopes": ["y".repeat(MAX_ARGUMENT_TEXT_BYTES + 1)] }),
                expected: large,
            },
            DecisionCase {
                tool: "create-api-key",
                args: json!({ "scopes": ["y".repeat(MAX_ARGUMENT_TEXT_BYTES / 2)] }),
                expected: "allow",
            },
        ],
    )
    .await;
    // A macro visits every value, so its limit is lower.
    let macros = deny_when("args.scopes.exists(s, s.contains('x'))");
    let wide: Vec<String> = (0..2_000).map(|_| "y".repeat(400)).collect();
    assert_decisions(
        &macros,
        &[DecisionCase {
            tool: "create-api-key",
            args: json!({ "scopes": wide }),
            expected: large,
        }],
    )
    .await;
    // An expression that does not read arguments has no such limit.
    assert_decisions(
        &deny_when("tainted"),
        &[DecisionCase {
            tool: "create-api-key",
            args: json!({ "scopes": many }),
            expected: "allow",
        }],
    )
    .await;
}

#[test]
fn unsupported_and_too_complex_expressions_are_rejected() {
    let deep = format!("{}true{}", "(".repeat(60), ")".repeat(60));
    let wide = format!("1{} == 1", " + 1".repeat(60));
    let ins = format!("1{}", " in [1]".repeat(49));
    let long = format!("tool == '{}'", "x".repeat(1_000));
    let regex = format!("tool.matches('{}')", "(a{1,99}){1,99}".repeat(2));
    let cases = [
        ("tol == 'x'", "there is no `tol`; there are args"),
        ("tool == ", "line 2: rules[0]: `when`: "),
        ("counters == {}", "write which counter"),
        ("counters.missing > 1", "no rule counts `missing`"),
        ("lookup(args)", "there is no function `lookup`"),
        ("args.map(a, a + '') == []", "`map` is not offered"),
        ("args.a.map(x, x > 1, tool) == []", "`map` is not offered"),
        (
            "args.a.all(x, args.b.all(y, x == y))",
            "one macro may not stand inside another",
        ),
        (
            "tool.matches(principal)",
            "`matches` takes a text that is written out",
        ),
        ("tool.matches('(')", "the regular expression is invalid"),
        (regex.as_str(), "the regular expression is invalid"),
        (deep.as_str(), "Recursion limit"),
        (wide.as_str(), "levels"),
        (ins.as_str(), "levels"),
        (long.as_str(), "longer than"),
        (
            "google.protobuf.Duration{seconds: 1} == time",
            "messages are not offered",
        ),
    ];
    for (expression, words) in cases {
        let error = Policy::parse("t", &deny_when(expression), &Catalog::full())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(words) && error.contains("line 2"),
            "{expression}: {error}"
        );
    }
}

/// Calls are served on threads with a small stack.
#[tokio::test]
async fn deepest_accepted_expression_can_be_evaluated() {
    let deepest = (1..60)
        .rev()
        .map(|terms| format!("1{} == 60", " + 1".repeat(terms)));
    let mut taken =
        deepest.filter(|text| Policy::parse("t", &deny_when(text), &Catalog::full()).is_ok());
    let expression = taken.next().unwrap();
    assert!(expression.len() > 100, "{expression}");
    assert_decisions(
        &deny_when(&expression),
        &[DecisionCase {
            tool: "list-labels",
            args: json!({}),
            expected: "allow",
        }],
    )
    .await;
}

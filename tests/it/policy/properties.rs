//! Properties of every policy and every call: no panic, and a deny rule never permits more.

use portkey_policy::DenialStage;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;

use super::*;

fn any_expression() -> impl Strategy<Value = String> {
    let parts = || {
        select(vec![
            "args.a",
            "args.b.c",
            "has(args.a)",
            "args.list",
            "1",
            "'x'",
            "null",
            "tool",
            "effect",
            "tainted",
            "time",
            "principal",
            "true",
            "args.list.size()",
            "[1, 'x']",
            "-1",
            "1.5",
            "{}",
        ])
    };
    let operators = select(vec![
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        "in",
        "+",
        "/",
        "%",
        ".contains",
        ".matches",
    ]);
    (parts(), operators, parts()).prop_map(|(a, operator, b)| match operator.strip_prefix('.') {
        Some(function) => format!("{a}.{function}({b})"),
        None => format!("{a} {operator} {b}"),
    })
}

fn any_rule() -> impl Strategy<Value = Value> {
    let actions = select(vec![
        "evaluate", "allow", "deny", "approve", "dry_run", "shadow",
    ]);
    let operators = select(vec![
        "eq", "neq", "in", "lt", "gte", "regex", "contains", "exists",
    ]);
    let values = select(vec![
        json!(1),
        json!("a"),
        json!([1, "a"]),
        json!(true),
        json!(null),
    ]);
    let condition = (
        select(vec!["args.a", "args.b.c", "args.list"]),
        operators,
        values,
    );
    let condition =
        condition.prop_map(|(path, op, value)| json!({ "path": path, "op": op, "value": value }));
    let extra = select(vec![
        json!({}),
        json!({ "cap": { "a": 1, "list[]": 1 } }),
        json!({ "rate_limit": "2/hour" }),
        json!({ "limits": [{ "max": 1, "window": "day", "increment_from": "args.a" }] }),
        json!({ "redact": ["a"] }),
    ]);
    let effects = select(vec![
        json!(["read"]),
        json!(["read", "create"]),
        json!(["delete"]),
    ]);
    (
        actions,
        proptest::option::of(any_expression()),
        vec(condition, 0..2),
        extra,
        effects,
    )
        .prop_map(|(action, when, conditions, extra, effects)| {
            let mut rule =
                json!({ "name": "r", "action": action, "match": { "effects": effects } });
            let fields = rule.as_object_mut().unwrap();
            fields.extend(when.map(|when| ("when".to_owned(), json!(when))));
            if !conditions.is_empty() {
                fields.insert("conditions".to_owned(), json!(conditions));
            }
            fields.extend(extra.as_object().unwrap().clone());
            rule
        })
}

fn any_args() -> impl Strategy<Value = Value> {
    let value = || {
        select(vec![
            json!(null),
            json!(1),
            json!(-2),
            json!(2.5),
            json!("x"),
            json!(["x", 1]),
            json!({ "c": 1 }),
            json!(true),
            json!(u64::MAX),
        ])
    };
    let fields = proptest::collection::btree_map(select(vec!["a", "b", "list"]), value(), 0..4);
    fields.prop_map(|fields| json!(fields))
}

/// Returns how much a decision permits.
fn permissiveness(decision: &PolicyEvaluation) -> u8 {
    match &decision.decision {
        Decision::Deny(denied) if denied.stage == DenialStage::Hidden => 0,
        Decision::Deny(_) => 1,
        Decision::Approve(_) => 2,
        Decision::DryRun(_) => 3,
        Decision::Allow => 4,
    }
}

fn try_parse(posture: &str, rules: &[Value]) -> Option<Policy> {
    // A rule is counted by its name, so each needs another.
    let named = rules.iter().enumerate().map(|(index, rule)| {
        let mut rule = rule.clone();
        rule["name"] = json!(format!("r{index}"));
        rule
    });
    let text = json!({ "version": "1", "default": posture, "rules": named.collect::<Vec<_>>() });
    Policy::parse("p", &text.to_string(), &Catalog::full()).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn deny_rule_never_permits_more(
        posture in select(vec!["allow", "deny"]),
        rules in vec(any_rule(), 0..5),
        when in proptest::option::of(any_expression()),
        at in 0_usize..6,
        args in any_args(),
        tool in select(vec!["get-config", "create-config", "delete-config"]),
    ) {
        // Most generated rules are valid; invalid ones are ignored.
        let rules: Vec<Value> =
            rules.into_iter().filter(|rule| try_parse(posture, std::slice::from_ref(rule)).is_some()).collect();
        let Some(without) = try_parse(posture, &rules) else { return Ok(()) };
        let mut deny = json!({ "action": "deny" });
        if let Some(when) = when {
            deny["when"] = json!(when);
        }
        let mut more = rules.clone();
        more.insert(at.min(rules.len()), deny);
        let Some(with) = try_parse(posture, &more) else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (before, after) = runtime.block_on(async {
            let call = (tool, &args);
            let before = evaluate(&[&without], TEST_CALLER, &Store::in_memory(), call).await;
            (before, evaluate(&[&with], TEST_CALLER, &Store::in_memory(), call).await)
        });
        prop_assert!(permissiveness(&after) <= permissiveness(&before), "{} became {}", describe_decision(&before), describe_decision(&after));
    }

    #[test]
    fn parsing_never_panics(text in "[ -~\\n]{0,200}", expression in "[ -~]{0,120}") {
        _ = Policy::parse("p", &text, &Catalog::full());
        let rule = json!({ "version": "1", "rules": [{ "name": "r", "action": "deny", "when": expression }] });
        _ = Policy::parse("p", &rule.to_string(), &Catalog::full());
    }
}

//! Decisions of policies on cases, as `policy test` makes them.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use portkey_api::catalog::Catalog;

use crate::{Policy, cases::parse_cases};

/// Checks that a policy decides as the cases expect. The store is in memory, so that nothing waits.
fn assert_cases(policy: &str, cases: &str) {
    let catalog = Catalog::full();
    let policy = Policy::parse("p.yaml", policy, &catalog).unwrap();
    for (line, case) in parse_cases(cases).unwrap() {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(case.check(&policy, &catalog)).poll(&mut context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => panic!("line {line}: {error}"),
            Poll::Pending => panic!("line {line}: it waits"),
        }
    }
}

fn parse_error(policy: &str) -> String {
    let parsed = Policy::parse("p.yaml", policy, &Catalog::full());
    parsed.map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn claims_decide_in_expressions_and_conditions() {
    let policy = r#"
version: "1"
default: deny
rules:
  - name: admins
    action: allow
    match: { effects: [update] }
    when: has(principal.claims.role) && principal.claims.role == "admin"
  - name: groups
    action: allow
    match: { effects: [read] }
    conditions: [{ path: principal.claims.realm_access.roles, op: contains, value: reader }]
  - name: org
    action: deny
    match: { tools: [list-labels] }
    when: '"https://example.com/org" in principal.claims && principal.claims["https://example.com/org"] == "x"'
  - name: unguarded
    action: allow
    match: { tools: [create-label] }
    when: principal.claims.role == "admin" || principal.claims.level > 3
"#;
    let cases = r#"
cases:
  - { call: update-config, args: { slug: a, name: b }, claims: { role: admin }, expect: allow }
  - { call: update-config, args: { slug: a, name: b }, claims: { role: user }, expect: deny, rule: default }
  - { call: update-config, args: { slug: a, name: b }, claims: {}, expect: deny, rule: default }
  - { call: update-config, args: { slug: a, name: b }, expect: deny, rule: default }
  - { call: list-configs, claims: { realm_access: { roles: [reader] } }, expect: allow }
  - { call: list-configs, claims: { realm_access: { roles: [] } }, expect: deny, rule: default }
  - { call: list-configs, claims: { realm_access: reader }, expect: deny, rule: default }
  - call: list-labels
    claims: { realm_access: { roles: [reader] }, "https://example.com/org": x }
    expect: deny
    rule: org
  - { call: list-labels, claims: { realm_access: { roles: [reader] } }, expect: allow }
  - { name: no claim is an error and denies, call: create-label, args: { name: a }, expect: deny, rule: default }
  - { call: create-label, args: { name: a }, claims: { role: admin }, expect: allow }
  - { name: a wrong type denies, call: create-label, args: { name: a }, claims: { level: high }, expect: deny, rule: default }
"#;
    assert_cases(policy, cases);
}

#[test]
fn absent_claim_never_lets_a_call_past_a_rule_that_stops_it() {
    let policy = r#"
version: "1"
rules:
  - name: others ask
    action: approve
    match: { effects: [create] }
    conditions: [{ path: principal.claims.role, op: neq, value: admin }]
  - name: staff only
    match: { effects: [delete] }
    conditions: [{ path: principal.claims.kind, op: not_in, value: [guest] }]
"#;
    let cases = r#"
cases:
  - { call: create-label, args: { name: a }, expect: approve, rule: others ask }
  - { call: create-label, args: { name: a }, claims: { role: user }, expect: approve }
  - { call: create-label, args: { name: a }, claims: { role: admin }, expect: allow }
  - { call: delete-label, args: { label_id: a }, expect: deny, rule: staff only }
  - { call: delete-label, args: { label_id: a }, claims: { kind: guest }, expect: deny }
  - { call: delete-label, args: { label_id: a }, claims: { kind: staff }, expect: allow }
"#;
    assert_cases(policy, cases);
}

#[test]
fn claims_beyond_the_limits_deny() {
    let groups: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
    let groups = groups.join(", ");
    let policy = r#"
version: "1"
rules:
  - { name: blocked, action: deny, match: { effects: [read] }, when: has(principal.claims.blocked) }
"#;
    let cases = format!(
        "cases:\n  - {{ call: list-labels, claims: {{ groups: [{groups}] }}, expect: deny, rule: blocked }}\n\
         \x20 - {{ call: list-labels, claims: {{ jti: a }}, expect: allow }}\n"
    );
    assert_cases(policy, &cases);
}

#[test]
fn principal_stays_a_text_and_claims_are_named() {
    let policy = r#"
version: "1"
rules: [{ name: r, action: deny, when: 'principal == "ci" && !("sub" in principal.claims)' }]
"#;
    let cases = "cases:\n  - { call: list-labels, principal: ci, expect: deny }\n  \
                 - { call: list-labels, principal: ci, claims: { sub: a }, expect: allow }\n  \
                 - { call: list-labels, expect: allow }\n";
    assert_cases(policy, cases);
    let text = "version: '1'\nrules: [{ name: r, action: deny, when: has(principal.claims) }]\n";
    assert!(parse_error(text).contains("write which claim"));
}

#[test]
fn default_deny_closes_prompts_and_resources() {
    let policy = r#"
version: "1"
default: deny
rules:
  - { name: reads, action: allow, match: { effects: [read] } }
  - { name: texts, action: allow, match: { prompts: [onboard-*], resources: ["portkey://guide/*"] } }
  - { name: not this one, action: deny, match: { prompts: [onboard-team] }, when: tainted }
"#;
    let cases = r#"
cases:
  - { prompt: onboard-team, expect: allow }
  - { prompt: onboard-team, tainted: true, expect: deny, rule: not this one }
  - { prompt: access-review, expect: deny, rule: default }
  - { resource: "portkey://guide/errors", expect: allow }
  - { resource: "portkey://configs/a", expect: deny, rule: default }
  - { call: list-labels, expect: allow }
  - { call: create-label, args: { name: a }, expect: deny, rule: default }
"#;
    assert_cases(policy, cases);
}

#[test]
fn rules_without_prompts_and_resources_leave_them_alone() {
    let policy = r#"
version: "1"
rules:
  - { name: all tools, action: deny }
  - { name: secret, action: deny, match: { resources: ["portkey://configs/*"], tools: [list-configs] } }
  - { name: few, match: { prompts: ["*"] }, rate_limit: 1/hour }
"#;
    let cases = r#"
cases:
  - { call: list-labels, expect: deny, rule: all tools }
  - { resource: "portkey://guide/errors", expect: allow }
  - { resource: "portkey://configs/a/b", expect: deny, rule: secret }
  - { prompt: access-review, expect: allow }
  - { prompt: access-review, times: 2, expect: deny, rule: few }
"#;
    assert_cases(policy, cases);
}

#[test]
fn policy_that_closes_prompts_and_resources_says_so() {
    let notes = |text: &str| {
        let policy = Policy::parse("p.yaml", text, &Catalog::full()).unwrap();
        policy.notes().len()
    };
    assert_eq!(notes("version: '1'\ndefault: deny\n"), 1);
    assert_eq!(notes("version: '1'\n"), 0);
    let opened = "version: '1'\ndefault: deny\nrules: [{ name: r, action: allow, match: { prompts: ['*'] } }]\n";
    assert_eq!(notes(opened), 0);
}

#[test]
fn rule_about_prompts_takes_no_part_for_calls() {
    for part in [
        "action: approve",
        "action: dry_run",
        "cap: { a: 1 }",
        "timeout: 5s",
        "redact: [a]",
    ] {
        let text =
            format!("version: '1'\nrules: [{{ name: r, match: {{ prompts: ['*'] }}, {part} }}]\n");
        assert!(
            parse_error(&text).contains("prompts and resources can"),
            "{part}"
        );
    }
    let text = "version: '1'\ntools: { list-labels: { rules: [{ name: r, action: deny, match: { prompts: ['*'] } }] } }\n";
    assert!(parse_error(text).contains("move it under `rules`"));
}

#[test]
fn order_of_calls_decides_and_its_absence_denies() {
    let policy = r#"
version: "1"
default: deny
rules:
  - { name: reads, action: allow, match: { effects: [read] } }
  - { name: after a look, action: allow, match: { tools: [update-config] }, after: get-config }
  - { name: nothing after logs, action: deny, match: { tools: [list-labels] }, after: [list-configs, list-users] }
  - { name: look first, action: deny, match: { tools: [list-prompts] }, before: list-labels }
"#;
    let cases = r#"
cases:
  - { call: update-config, args: { slug: a, name: b }, session: s, called: [get-config], expect: allow }
  - { call: update-config, args: { slug: a, name: b }, session: s, expect: deny, rule: default }
  - { call: update-config, args: { slug: a, name: b }, session: s, called: [list-labels], expect: deny }
  - { name: without a session, call: update-config, args: { slug: a, name: b }, expect: deny, rule: default }
  - { call: list-labels, session: s, called: [list_configs], expect: allow }
  - { call: list-labels, session: s, called: [list-configs, list-users], expect: deny, rule: nothing after logs }
  - { name: without a session, call: list-labels, expect: deny, rule: nothing after logs }
  - { call: list-prompts, session: s, expect: deny, rule: look first }
  - { call: list-prompts, session: s, called: [list-labels], expect: allow }
  - { name: without a session, call: list-prompts, expect: deny, rule: look first }
"#;
    assert_cases(policy, cases);
    let text = "version: '1'\nrules: [{ name: r, action: deny, after: list-lables }]\n";
    let error = parse_error(text);
    assert!(error.contains("did you mean `list-labels`"), "{error}");
}

#[test]
fn source_selects_callers_by_their_address() {
    let policy = r#"
version: "1"
default: deny
rules:
  - { name: office, action: allow, source: [10.0.0.0/8, "2001:db8::/32"], match: { effects: [read] } }
  - { name: anywhere but the lab, action: allow, source: "!10.9.0.0/16", match: { tools: [create-label] } }
  - { name: by text, action: deny, match: { tools: [list-users] }, when: source.startsWith("10.2.") }
"#;
    let cases = r#"
cases:
  - { call: list-labels, source: 10.1.2.3, expect: allow }
  - { call: list-labels, source: "2001:db8::1", expect: allow }
  - { call: list-labels, source: "::ffff:10.1.2.3", expect: allow }
  - { call: list-labels, source: 192.0.2.1, expect: deny, rule: default }
  - { name: no address, call: list-labels, transport: stdio, expect: deny, rule: default }
  - { name: no address, call: create-label, args: { name: a }, transport: stdio, expect: deny }
  - { call: create-label, args: { name: a }, source: 192.0.2.1, expect: allow }
  - { call: create-label, args: { name: a }, source: 10.9.1.1, expect: deny }
  - { call: list-users, source: 10.2.0.1, expect: deny, rule: by text }
"#;
    assert_cases(policy, cases);
    let text = "version: '1'\nrules: [{ name: r, action: deny, source: office }]\n";
    assert!(parse_error(text).contains("is no network"));
}

#[test]
fn outside_decision_is_required_after_local_rules() {
    let policy = r#"
version: "1"
rules:
  - { name: never, action: deny, match: { tools: [create-label] } }
  - { name: outside, match: { effects: [create, update] }, decide: "https://pdp.example.com/access/v1/evaluation" }
"#;
    let cases = r#"
cases:
  - { call: list-labels, expect: allow }
  - { call: create-label, args: { name: a }, outside: allow, expect: deny, rule: never }
  - { call: update-config, args: { slug: a, name: b }, outside: allow, expect: allow }
  - { call: update-config, args: { slug: a, name: b }, outside: deny, expect: deny, rule: outside }
  - { name: not asked, call: update-config, args: { slug: a, name: b }, expect: deny, rule: outside }
"#;
    assert_cases(policy, cases);
}

#[test]
fn invalid_parts_are_reported() {
    struct Case {
        rule: &'static str,
        error: &'static str,
    }
    let case = |rule, error| Case { rule, error };
    for Case { rule, error } in [
        case(
            "approvers: 2, rate_limit: 1/hour",
            "`approvers` goes with `action: approve`",
        ),
        case(
            "action: approve, approvers: 0",
            "`approvers` is between 1 and 10",
        ),
        case("timeout: 2h", "`timeout` is at most 3600s"),
        case("concurrency: 0", "`concurrency` is between"),
        case("decide: 'http://pdp.example.com/'", "only https addresses"),
        case("action: deny, decide: 'https://a/'", "nothing to check"),
        case(
            "action: shadow, decide: 'https://a/'",
            "a shadow rule asks no decision point",
        ),
        case(
            "decide: { url: 'https://a/', timeout: 1m }",
            "the timeout is at most 30s",
        ),
        case(
            "conditions: [{ path: principal.claims., op: exists, value: true }]",
            "names no claim",
        ),
    ] {
        let text = format!("version: '1'\nrules: [{{ name: r, {rule} }}]\n");
        let found = parse_error(&text);
        assert!(found.contains(error), "{rule}: {found}");
    }
}

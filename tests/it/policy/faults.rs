//! Invalid policy files are reported with the line and the reason.

use super::*;

#[test]
fn policy_errors_are_reported_with_their_line() {
    let rule = |rule: &str| {
        format!("version: '1'\ntools:\n  get-config:\n    rules:\n      - {{ {rule} }}\n")
    };
    let at = |what: &str| format!("line 5: tools.get-config.rules[0]: {what}");
    let cases = [
        ("version: '2'".to_owned(), "`version` is \"1\"".to_owned()),
        ("default: deny".to_owned(), "version".to_owned()),
        (
            "version: '1'\ndefault: maybe".to_owned(),
            "line 2".to_owned(),
        ),
        ("version: '1'\ntoolz: {}".to_owned(), "toolz".to_owned()),
        (
            "version: '1'\ntools:\n  a: {}\n  a: {}".to_owned(),
            "line 4".to_owned(),
        ),
        ("version: '1'\ntools: [".to_owned(), "line".to_owned()),
        (
            "version: '1'\nhide: ['']".to_owned(),
            "line 2: hide[0]: a name has".to_owned(),
        ),
        (
            "version: '1'\nhide: ['[']".to_owned(),
            "`[` is no glob".to_owned(),
        ),
        (rule("action: deny"), at("a rule has a name")),
        (rule("name: r"), at("it checks nothing")),
        (rule("name: r, action: block"), "line 5".to_owned()),
        (
            rule("name: r, conditions: [{ path: body.x, op: eq, value: 1 }]"),
            at("`body.x` is no path"),
        ),
        (
            rule("name: r, conditions: [{ path: args.x, op: is, value: 1 }]"),
            at("there is no operator `is`"),
        ),
        (
            rule("name: r, conditions: [{ path: args.x, op: in, value: 1 }]"),
            at("operator `in` takes a list"),
        ),
        (
            rule("name: r, conditions: [{ path: args.x, op: lte, value: a }]"),
            at("operator `lte` takes a number"),
        ),
        (
            rule("name: r, conditions: [{ path: args.x, op: exists }]"),
            at("operator `exists` takes true or false"),
        ),
        (
            rule("name: r, conditions: [{ path: args.x, op: regex, value: '(' }]"),
            at("the regular expression is invalid"),
        ),
        (
            rule("name: r, conditions: [{ path: state.get_config.n, op: lte, value: 1 }]"),
            at("no rule of `get-config` counts `n`"),
        ),
        (
            rule("name: r, action: deny, conditions: [{ path: args.x, op: eq, value: 1 }]"),
            at("a rule that denies takes `when`"),
        ),
        (
            rule("name: r, action: deny, rate_limit: 1/hour"),
            at("a rule that denies takes `when`"),
        ),
        (
            rule("name: r, rate_limit: 1/fortnight"),
            at("`fortnight` is not a window"),
        ),
        (
            rule("name: r, rate_limit: 0/hour"),
            at("`0/hour` is not a rate"),
        ),
        (
            rule("name: r, rate_limit: often"),
            at("`often` is not a rate"),
        ),
        (
            rule("name: r, rate_limit: 1/hour, state: { counter: c, window: hour }"),
            at("`rate_limit` goes with neither"),
        ),
        (
            rule("name: r, limits: [{ max: 1 }]"),
            at("a limit has one of"),
        ),
        (
            rule("name: r, limits: [{ max: 1, sliding: 5y }]"),
            at("give a duration such as"),
        ),
        (
            rule("name: r, limits: [{ max: 1, window: hour }, { max: 2, window: hour }]"),
            at("another rule of `get-config` counts `_limit_hour` already"),
        ),
        (
            rule("name: r, state: { counter: c, window: hour, increment_from: amount }"),
            at("`increment_from` is such as"),
        ),
        (
            rule("name: r, would: deny"),
            at("`would` goes with `action: shadow`"),
        ),
        (
            rule("name: r, action: shadow, would: shadow"),
            at("`would` names another action"),
        ),
        (
            rule("name: r, action: allow, confirm: true"),
            at("`confirm` goes with `action: approve`"),
        ),
        (rule("name: r, redact: ['a..b']"), at("`a..b` is no path")),
        (
            rule("name: r, action: deny, match: { domains: [label] }"),
            at("there is no domain `label`, did you mean `labels`?"),
        ),
        (
            rule("name: r, action: deny, match: { effects: [write] }"),
            "line 5".to_owned(),
        ),
        ("version: '1'\nrules: &a [*a]".to_owned(), String::new()),
    ];
    for (text, words) in cases {
        let error = Policy::parse("t", &text, &Catalog::full())
            .unwrap_err()
            .to_string();
        assert!(error.contains(&words), "{text}\n{error}\nwithout: {words}");
    }
}

#[test]
fn all_policy_errors_are_reported_at_once() {
    let rules = "- { name: r, action: deny, would: deny }\n".repeat(30);
    let error = Policy::parse(
        "t",
        &format!("version: '1'\nrules:\n{rules}"),
        &Catalog::full(),
    );
    let error = error.unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert!(lines.len() == 21 && lines[20] == "and 10 more", "{error}");
    assert!(
        lines[0].starts_with("line 3: rules[0]") && lines[1].starts_with("line 4"),
        "{error}"
    );
}

#[test]
fn too_large_policy_is_rejected() {
    let text = format!(
        "version: '1'\n#{}",
        "x".repeat(portkey_policy::MAX_POLICY_BYTES)
    );
    let error = Policy::parse("t", &text, &Catalog::full())
        .unwrap_err()
        .to_string();
    assert!(error.contains("larger than"), "{error}");
    let rule = "- { name: r, action: deny }\n";
    let many = format!("version: '1'\nrules:\n{}", rule.repeat(2_001));
    let error = Policy::parse("t", &many, &Catalog::full())
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than 2000 rules"), "{error}");
}

//! Whatever a file has in it, an import ends with a policy that can be loaded, or with an error.

use std::sync::LazyLock;

use portkey_api::catalog::Catalog;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{ImportFormat, import};
use crate::Policy;

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::full);

/// Parts of both languages, and texts that break one of them.
const PARTS: &[&str] = &[
    "permit",
    "forbid",
    "(",
    ")",
    "principal",
    "action",
    "resource",
    ",",
    ";",
    "==",
    "!=",
    "in",
    "[",
    "]",
    "when",
    "unless",
    "{",
    "}",
    "has",
    ".",
    "&&",
    "||",
    "!",
    "true",
    "false",
    "like",
    "is",
    "Action::\"call_tool\"",
    "Action::\"list_tools\"",
    "Action::\"read_resource\"",
    "Tool::\"list_labels\"",
    "Tool::\"\"",
    "Prompt::\"a\"",
    "Client::\"b\"",
    "principal.claim_sub",
    "context.arg_name",
    "context.arg_",
    "mcp.tool.name",
    "mcp.prompt.name",
    "jwt.sub",
    "jwt.groups",
    "jwt.in",
    "jwt",
    ".startsWith(\"get_\")",
    ".contains(\"x\")",
    "\"x\"",
    "'x'",
    "\"a*\"",
    "\"\\\"\"",
    "1",
    "99999999999999999999",
    "-1",
    "1.5",
    "@id(\"one\")",
    "@note(\"\")",
    "// comment\n",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\0",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "é",
    "\u{1f600}",
    "\"",
    "'",
    "\\",
    "#",
    ": ",
    "- ",
    "? ",
    "& ",
    "%",
    "`",
];

fn sources() -> impl Strategy<Value = String> {
    let joined = (vec(select(PARTS), 0..40), select(vec!["", " "]));
    prop_oneof![
        3 => joined.prop_map(|(parts, between)| parts.join(between)),
        1 => any::<String>(),
    ]
}

/// A policy of Cedar with odd conditions.
fn cedar_policies() -> impl Strategy<Value = String> {
    let effect = select(vec!["permit", "forbid"]);
    (effect, sources(), sources()).prop_map(|(effect, scope, condition)| match scope.len() % 2 {
        0 => format!("{effect}(principal, action, resource) when {{ {condition} }};"),
        _ => format!("{effect}(principal, action, {scope}) unless {{ {condition} }};"),
    })
}

fn quote(text: String) -> String {
    serde_json::Value::from(text).to_string()
}

/// A file of one of the gateways, with odd rules or of odd form.
fn files() -> impl Strategy<Value = (ImportFormat, String)> {
    let rule = (
        select(vec!["", "allow", "deny", "require", "other"]),
        sources(),
    )
        .prop_map(move |(kind, source)| match kind {
            "" => quote(source),
            kind => format!("{{ {kind}: {} }}", quote(source)),
        });
    let agentgateway = vec(rule, 0..6)
        .prop_map(|rules| format!("mcpAuthorization:\n  rules: [{}]\n", rules.join(", ")));
    let configuration = vec(cedar_policies(), 0..5).prop_map(|policies| {
        let policies: Vec<_> = policies.into_iter().map(quote).collect();
        format!("cedar:\n  policies: [{}]\n", policies.join(", "))
    });
    let alone = vec(cedar_policies(), 0..5).prop_map(|policies| policies.join("\n"));
    prop_oneof![
        4 => agentgateway.prop_map(|text| (ImportFormat::Agentgateway, text)),
        3 => alone.prop_map(|text| (ImportFormat::Toolhive, text)),
        3 => configuration.prop_map(|text| (ImportFormat::Toolhive, text)),
        1 => sources().prop_map(|text| (ImportFormat::Agentgateway, text)),
        1 => sources().prop_map(|text| (ImportFormat::Toolhive, text)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn import_ends_with_a_policy_or_an_error((format, text) in files()) {
        match import(format, &text) {
            Err(error) => prop_assert!(!error.to_string().trim().is_empty()),
            Ok(imported) => {
                let policy = Policy::parse("imported.yaml", &imported.text, &CATALOG);
                prop_assert!(policy.is_ok(), "{:?}\n{}", policy.err(), imported.text);
                let lines = text.lines().count().max(1) as u64;
                for unmapped in &imported.unmapped {
                    let line = unmapped.strip_prefix("line ");
                    let (line, reason) = line.and_then(|rest| rest.split_once(": ")).unwrap();
                    let line: u64 = line.parse().unwrap();
                    prop_assert!((1..=lines).contains(&line), "{unmapped}: {lines} lines");
                    prop_assert!(!reason.trim().is_empty());
                }
            }
        }
    }
}

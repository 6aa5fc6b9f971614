//! The values in logs, metrics, audit lines and answers, held against the tables of the documents.

use std::{collections::BTreeSet, fs};

use portkey_mcp::{
    auth::principal::AuthMethod,
    observability::{
        audit::LogEvent,
        call_record::{ApprovalMethod, ErrorType, OutcomeKind, RejectionReason},
    },
};
use portkey_operation::Effect;
use portkey_policy::{DecisionKind, Transport};
use portkey_readiness::{ComponentName, DegradedReason, ServerStatus};

const OBSERVABILITY: &str = "docs/observability.md";
const AUDIT: &str = "docs/audit.md";

/// The texts between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The rows of the table whose first heading is this one, as cells.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(document).unwrap();
    let cells = |line: &str| {
        let inner = line.trim_matches('|');
        inner
            .split(" | ")
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {heading} |")));
    lines
        .next()
        .unwrap_or_else(|| panic!("{document} has no table of {heading}"));
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect()
}

/// The values in one column of a table.
fn column(document: &str, heading: &str, column: usize) -> BTreeSet<String> {
    let rows = table(document, heading);
    let all: Vec<_> = rows
        .iter()
        .flat_map(|cells| quoted(&cells[column]))
        .collect();
    let values: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(
        values.len(),
        all.len(),
        "{document}: a value of {heading} is there twice"
    );
    values
}

fn set<T: Copy>(all: &[T], as_str: impl Fn(T) -> &'static str) -> BTreeSet<String> {
    let values: BTreeSet<_> = all.iter().map(|one| as_str(*one).to_owned()).collect();
    assert_eq!(
        values.len(),
        all.len(),
        "two values are the same: {values:?}"
    );
    values
}

/// The values of the audit log's own lines.
fn events() -> BTreeSet<String> {
    let text = |event| {
        serde_json::to_value(event)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    LogEvent::ALL.into_iter().map(text).collect()
}

#[test]
fn observability_tables_list_the_values_of_the_enums() {
    let components: Vec<_> = ComponentName::all().collect();
    let cases = [
        ("Outcome", 0, set(&OutcomeKind::ALL, OutcomeKind::as_str)),
        ("Decision", 0, set(&DecisionKind::ALL, DecisionKind::as_str)),
        (
            "Rejection reason",
            0,
            set(&RejectionReason::ALL, RejectionReason::as_str),
        ),
        ("Error type", 0, set(&ErrorType::ALL, ErrorType::as_str)),
        ("Effect", 0, set(&Effect::ALL, Effect::as_str)),
        (
            "Authentication",
            0,
            set(&AuthMethod::ALL, AuthMethod::as_str),
        ),
        ("Transport", 0, set(&Transport::ALL, Transport::as_str)),
        (
            "Transport",
            1,
            set(&Transport::ALL, Transport::network_transport),
        ),
        ("Component", 0, set(&components, ComponentName::as_str)),
        (
            "Server status",
            0,
            set(&ServerStatus::ALL, ServerStatus::as_str),
        ),
        (
            "Degraded reason",
            0,
            set(&DegradedReason::ALL, DegradedReason::as_str),
        ),
    ];
    for (heading, at, values) in cases {
        assert_eq!(
            column(OBSERVABILITY, heading, at),
            values,
            "{heading} in {OBSERVABILITY}"
        );
    }
}

#[test]
fn audit_document_lists_the_values_of_each_field() {
    let expected = [
        ("outcome", set(&OutcomeKind::ALL, OutcomeKind::as_str)),
        ("decision", set(&DecisionKind::ALL, DecisionKind::as_str)),
        (
            "approval_method",
            set(&ApprovalMethod::ALL, ApprovalMethod::as_str),
        ),
        ("auth", set(&AuthMethod::ALL, AuthMethod::as_str)),
        ("transport", set(&Transport::ALL, Transport::as_str)),
        ("effect", set(&Effect::ALL, Effect::as_str)),
        ("event", events()),
    ];
    let rows = table(AUDIT, "Values of");
    let told: Vec<(String, BTreeSet<String>)> = rows
        .iter()
        .map(|cells| {
            (
                quoted(&cells[0]).concat(),
                quoted(&cells[1]).into_iter().collect(),
            )
        })
        .collect();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(field, values)| (field.to_owned(), values))
        .collect();
    assert_eq!(told, expected);
}

/// But for those of JSON-RPC and of OpenTelemetry.
#[test]
fn documented_values_are_snake_case() {
    let documents = [
        column(OBSERVABILITY, "Outcome", 0),
        column(OBSERVABILITY, "Decision", 0),
        column(OBSERVABILITY, "Rejection reason", 0),
        column(OBSERVABILITY, "Effect", 0),
        column(OBSERVABILITY, "Authentication", 0),
        column(OBSERVABILITY, "Transport", 0),
        column(OBSERVABILITY, "Component", 0),
        column(OBSERVABILITY, "Server status", 0),
        column(OBSERVABILITY, "Degraded reason", 0),
        set(&ApprovalMethod::ALL, ApprovalMethod::as_str),
        events(),
    ];
    for value in documents.iter().flatten() {
        let is_plain = value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(is_plain && !value.is_empty(), "`{value}` is not snake_case");
    }
}

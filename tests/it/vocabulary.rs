//! Values in logs, metrics, audit entries and results, compared with the tables of the documents.

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

/// Returns the texts between backticks.
fn backticked(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Returns the rows of the table whose first heading is this one, as cells.
fn read_table(document: &str, heading: &str) -> Vec<Vec<String>> {
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

/// Returns the values in one column of a table.
fn column_values(document: &str, heading: &str, column: usize) -> BTreeSet<String> {
    let rows = read_table(document, heading);
    let all: Vec<_> = rows
        .iter()
        .flat_map(|cells| backticked(&cells[column]))
        .collect();
    let values: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(
        values.len(),
        all.len(),
        "{document}: a value of {heading} is there twice"
    );
    values
}

fn value_set<T: Copy>(all: &[T], as_str: impl Fn(T) -> &'static str) -> BTreeSet<String> {
    let values: BTreeSet<_> = all.iter().map(|one| as_str(*one).to_owned()).collect();
    assert_eq!(
        values.len(),
        all.len(),
        "two values are the same: {values:?}"
    );
    values
}

/// Returns the event names of the audit log's own entries.
fn log_events() -> BTreeSet<String> {
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
    struct Case {
        heading: &'static str,
        at: usize,
        values: BTreeSet<String>,
    }

    let components: Vec<_> = ComponentName::all().collect();
    let cases = [
        Case {
            heading: "Outcome",
            at: 0,
            values: value_set(&OutcomeKind::ALL, OutcomeKind::as_str),
        },
        Case {
            heading: "Decision",
            at: 0,
            values: value_set(&DecisionKind::ALL, DecisionKind::as_str),
        },
        Case {
            heading: "Rejection reason",
            at: 0,
            values: value_set(&RejectionReason::ALL, RejectionReason::as_str),
        },
        Case {
            heading: "Error type",
            at: 0,
            values: value_set(&ErrorType::ALL, ErrorType::as_str),
        },
        Case {
            heading: "Effect",
            at: 0,
            values: value_set(&Effect::ALL, Effect::as_str),
        },
        Case {
            heading: "Authentication",
            at: 0,
            values: value_set(&AuthMethod::ALL, AuthMethod::as_str),
        },
        Case {
            heading: "Transport",
            at: 0,
            values: value_set(&Transport::ALL, Transport::as_str),
        },
        Case {
            heading: "Transport",
            at: 1,
            // MCP over HTTP and the REST face share a value.
            values: Transport::ALL
                .map(|transport| transport.network_transport().to_owned())
                .into(),
        },
        Case {
            heading: "Component",
            at: 0,
            values: value_set(&components, ComponentName::as_str),
        },
        Case {
            heading: "Server status",
            at: 0,
            values: value_set(&ServerStatus::ALL, ServerStatus::as_str),
        },
        Case {
            heading: "Degraded reason",
            at: 0,
            values: value_set(&DegradedReason::ALL, DegradedReason::as_str),
        },
    ];
    for Case {
        heading,
        at,
        values,
    } in cases
    {
        assert_eq!(
            column_values(OBSERVABILITY, heading, at),
            values,
            "{heading} in {OBSERVABILITY}"
        );
    }
}

#[test]
fn audit_document_lists_the_values_of_each_field() {
    let expected = [
        ("outcome", value_set(&OutcomeKind::ALL, OutcomeKind::as_str)),
        (
            "decision",
            value_set(&DecisionKind::ALL, DecisionKind::as_str),
        ),
        (
            "approval_method",
            value_set(&ApprovalMethod::ALL, ApprovalMethod::as_str),
        ),
        ("auth", value_set(&AuthMethod::ALL, AuthMethod::as_str)),
        ("transport", value_set(&Transport::ALL, Transport::as_str)),
        ("effect", value_set(&Effect::ALL, Effect::as_str)),
        ("event", log_events()),
    ];
    let rows = read_table(AUDIT, "Values of");
    let documented: Vec<(String, BTreeSet<String>)> = rows
        .iter()
        .map(|cells| {
            (
                backticked(&cells[0]).concat(),
                backticked(&cells[1]).into_iter().collect(),
            )
        })
        .collect();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(field, values)| (field.to_owned(), values))
        .collect();
    assert_eq!(documented, expected);
}

/// Values of JSON-RPC and OpenTelemetry are excluded.
#[test]
fn documented_values_are_snake_case() {
    let documents = [
        column_values(OBSERVABILITY, "Outcome", 0),
        column_values(OBSERVABILITY, "Decision", 0),
        column_values(OBSERVABILITY, "Rejection reason", 0),
        column_values(OBSERVABILITY, "Effect", 0),
        column_values(OBSERVABILITY, "Authentication", 0),
        column_values(OBSERVABILITY, "Transport", 0),
        column_values(OBSERVABILITY, "Component", 0),
        column_values(OBSERVABILITY, "Server status", 0),
        column_values(OBSERVABILITY, "Degraded reason", 0),
        value_set(&ApprovalMethod::ALL, ApprovalMethod::as_str),
        log_events(),
    ];
    for value in documents.iter().flatten() {
        let is_plain = value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(is_plain && !value.is_empty(), "`{value}` is not snake_case");
    }
}

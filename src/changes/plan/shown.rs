//! A plan as it is shown before it is made.

use portkey_operation::{CallRisk, Operation};
use serde_json::{Value, json};

use super::document::ChangePlan;
use crate::pipeline::{
    approval::ApprovalRequirement,
    usages::{DEFAULT_NAMED_USERS, Impact},
};

/// A plan with what it shows.
#[derive(Debug)]
pub struct PlannedChanges {
    /// The plan.
    pub plan: ChangePlan,
    /// Steps, in the order in which they are made.
    pub steps: Vec<ShownStep>,
    /// True if a shown state is untrusted content.
    pub is_untrusted: bool,
}

/// A step as it is shown before it is made.
#[derive(Debug)]
pub struct ShownStep {
    /// Id within the plan.
    pub id: String,
    /// Name of the operation.
    pub tool: String,
    /// Name of the resource, if it exists.
    pub resource: Option<String>,
    /// Effect of the operation.
    pub effect: &'static str,
    /// Method and address of the request, with references where their values are not known yet.
    pub target: String,
    /// Risks of the call.
    pub risks: Vec<CallRisk>,
    /// The operation.
    pub operation: &'static Operation,
    /// Changes, each with `path`, `from` and `to`.
    pub changes: Vec<Value>,
    /// Number of changes that are not shown.
    pub more_changes: usize,
    /// Dependants of the target.
    pub impact: Option<Impact>,
    /// The approval that the step needs.
    pub approval: Option<ApprovalRequirement>,
    /// Notes about the step.
    pub notes: Vec<String>,
}

impl PlannedChanges {
    /// Serializes what the plan shows.
    pub fn to_json(&self) -> Value {
        self.steps.iter().map(ShownStep::to_json).collect()
    }

    /// Summarizes the impact of all steps in a line; `None` if no step restricts anything.
    pub fn impact_summary(&self) -> Option<String> {
        let parts: Vec<String> = self
            .steps
            .iter()
            .filter_map(|step| Some(format!("{}: {}", step.id, step.impact.as_ref()?.summary)))
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Returns the rules that demand an approval, without doubles.
    pub fn approval_rules(&self) -> Vec<&ApprovalRequirement> {
        let mut rules: Vec<&ApprovalRequirement> = Vec::new();
        for required in self.steps.iter().filter_map(|step| step.approval.as_ref()) {
            if !rules.contains(&required) {
                rules.push(required);
            }
        }
        rules
    }
}

impl ShownStep {
    /// Serializes the step.
    pub fn to_json(&self) -> Value {
        let mut value = json!({ "id": self.id, "tool": self.tool, "changes": self.changes });
        if let Some(fields) = value.as_object_mut() {
            if let Some(resource) = &self.resource {
                fields.insert("resource".to_owned(), resource.as_str().into());
            }
            if self.more_changes > 0 {
                fields.insert("more_changes".to_owned(), self.more_changes.into());
            }
            if let Some(impact) = &self.impact {
                fields.insert("impact".to_owned(), impact.to_json(DEFAULT_NAMED_USERS));
            }
            if let Some(required) = &self.approval {
                fields.insert("needs_approval".to_owned(), required.rule.as_str().into());
            }
            if !self.notes.is_empty() {
                fields.insert("notes".to_owned(), self.notes.clone().into());
            }
        }
        value
    }

    /// Renders the step as plain lines.
    pub fn to_lines(&self) -> Vec<String> {
        let resource = self.resource.as_ref().map(|name| format!(" `{name}`"));
        let mut lines = vec![format!(
            "{}: {} ({}){}",
            self.id,
            self.tool,
            self.effect,
            resource.unwrap_or_default()
        )];
        for change in &self.changes {
            let path = change
                .get("path")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let path = if path.is_empty() { "all of it" } else { path };
            if let Some(differing) = change.get("diff").and_then(Value::as_str) {
                lines.push(format!("  ~ {path}:"));
                lines.extend(differing.lines().map(|line| format!("      {line}")));
                continue;
            }
            lines.push(match (change.get("from"), change.get("to")) {
                (Some(from), Some(to)) => format!("  ~ {path}: {from} -> {to}"),
                (None, Some(to)) => format!("  + {path}: {to}"),
                (Some(from), None) => format!("  - {path}: {from}"),
                (None, None) => format!("  - {path}"),
            });
        }
        if self.more_changes > 0 {
            lines.push(format!("  and {} more changes", self.more_changes));
        }
        if let Some(impact) = &self.impact {
            lines.push(format!("  depends on it: {}", impact.summary));
            let users = impact.to_lines(DEFAULT_NAMED_USERS);
            lines.extend(users.into_iter().skip(1).map(|line| format!("    {line}")));
        }
        if let Some(required) = &self.approval {
            lines.push(format!("  needs approval: {}", required.rule));
        }
        lines.extend(self.notes.iter().map(|note| format!("  note: {note}")));
        lines
    }
}

//! The request for the approval of all steps of a plan: its text, and the same in parts.

use portkey_operation::CallRisk;
use serde_json::Value;

use super::{PlanRun, TOOL, authorize::joint_approvers};
use crate::{
    changes::plan::shown::{PlannedChanges, ShownStep},
    pipeline::{
        approval::{
            ApprovalRequest, ApprovalRequirement, Binding, CallDetails, DetailChange, RiskLabel,
            describe_risks,
        },
        usages::Impact,
    },
};

/// Maximum length of a line of the text of an approval request, in characters.
const MAX_LINE_CHARS: usize = 1_000;
/// Maximum length of the text of an approval request, in bytes.
const MAX_TEXT_BYTES: usize = 32 << 10;
/// Maximum number of changes, and of other entries, in the parts of an approval request.
const MAX_DETAIL_CHANGES: usize = 60;
const MAX_DETAIL_ENTRIES: usize = 40;
/// Length of the part of a plan's id that an approver types.
const TYPED_DIGITS: usize = 8;

impl PlanRun<'_> {
    /// Builds the request for the approval of all steps that are not done.
    pub(super) fn approval_request(
        &self,
        changes: &PlannedChanges,
        rules: &[ApprovalRequirement],
    ) -> ApprovalRequest {
        let plan = self.plan;
        let names: Vec<&str> = rules
            .iter()
            .map(|required| required.rule.as_str())
            .collect();
        let confirm = rules.iter().any(|required| required.confirm);
        let confirm = confirm.then(|| plan.id.chars().take(TYPED_DIGITS).collect::<String>());
        let mut text = format!(
            "Approve this plan of {} steps? ({TOOL} {})\n\nAsked by: `{}`\nRules: {}\n",
            changes.steps.len(),
            plan.id.get(..TYPED_DIGITS).unwrap_or_default(),
            escape(&self.context.principal.name),
            escape(&names.join(", ")),
        );
        for message in rules
            .iter()
            .filter_map(|required| required.message.as_ref())
        {
            text.push_str(&format!("Rule's message: {}\n", escape(message)));
        }
        if let Some(count) = joint_approvers(rules).filter(|count| *count > 1) {
            text.push_str(&format!("Approvers: {count} different people\n"));
        }
        for (i, step) in changes.steps.iter().enumerate() {
            let mut part = "\n".to_owned();
            for line in approval_lines(step) {
                part.push_str(&line);
                part.push('\n');
            }
            if text.len() + part.len() > MAX_TEXT_BYTES {
                let left = changes.steps.len() - i;
                let ids: Vec<&str> = changes
                    .steps
                    .iter()
                    .skip(i)
                    .map(|step| step.id.as_str())
                    .collect();
                text.push_str(&format!(
                    "\nAnd {left} more steps that are not shown: {}. Deny the plan unless you know them from elsewhere.\n",
                    shorten(&escape(&ids.join(", ")))
                ));
                break;
            }
            text.push_str(&part);
        }
        text.push_str(
            "\n`${step.field}` is filled with what an earlier step of this plan answers.\n",
        );
        if let Some(name) = &confirm {
            text.push_str(&format!("\nTo approve, type: `{name}`"));
        }
        let impact = changes.impact_summary().map(|summary| Impact {
            summary,
            ..Impact::default()
        });
        let digest = plan.digest();
        let mut parts: Vec<&[u8]> = vec![digest.as_bytes()];
        parts.extend(changes.steps.iter().map(|step| step.id.as_bytes()));
        for required in rules {
            parts.extend([required.rule.as_bytes(), required.revision.as_bytes()]);
        }
        let binding = Binding::of_parts(&self.context.principal.name, parts);
        let approvers = joint_approvers(rules);
        let rule = names.join(", ");
        let details = self.details(changes, &rule);
        let mut risks: Vec<CallRisk> = Vec::new();
        for known in changes.steps.iter().flat_map(|step| &step.risks) {
            if !risks.iter().any(|other| other.risk == known.risk) {
                risks.push(*known);
            }
        }
        ApprovalRequest::for_calls(
            TOOL,
            rule,
            &text,
            (confirm, approvers),
            (risks, details),
            impact,
            binding,
        )
    }

    /// Describes the plan in parts, for the approval server and its notices.
    fn details(&self, changes: &PlannedChanges, rule: &str) -> CallDetails {
        let info = self.context.request_info;
        let mut details = CallDetails {
            title: format!("Apply a plan of {} steps", changes.steps.len()),
            effect: "update".to_owned(),
            method: "PLAN".to_owned(),
            target: self.plan.id.clone(),
            client: info
                .client
                .as_deref()
                .map(|client| shorten(&escape(client))),
            transport: info.transport.as_str().to_owned(),
            rule: shorten(&escape(rule)),
            ..CallDetails::default()
        };
        if changes.steps.iter().any(|step| step.effect == "delete") {
            details.effect = "delete".to_owned();
        }
        let mut sentences = Vec::new();
        for step in &changes.steps {
            let id = shorten(&escape(&step.id));
            sentences.push(format!(
                "{id}: {}",
                describe_risks(step.operation, &step.risks)
            ));
            details
                .risks
                .extend(step.risks.iter().map(|known| RiskLabel {
                    kind: known.risk.as_str().to_owned(),
                    text: format!("{id}: it {}.", known.statement),
                }));
            details.impact.extend(
                step.impact
                    .iter()
                    .map(|impact| format!("{id}: {}", escape(&impact.summary))),
            );
            let target = format!("{id}: {} ({})", step.tool, step.effect);
            let all = [DetailChange::from_values(
                &target,
                (None, Some(&Value::from(step.target.as_str()))),
                None,
            )];
            let own = step.changes.iter().map(|change| {
                let path = change
                    .get("path")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let values = (change.get("from"), change.get("to"));
                let lines = change.get("diff").and_then(Value::as_str);
                DetailChange::from_values(&format!("{id}: {path}"), values, lines)
            });
            for change in all.into_iter().chain(own) {
                match details.changes.len() < MAX_DETAIL_CHANGES {
                    true => details.changes.push(change),
                    false => details.more_changes += 1,
                }
            }
            details.more_changes += step.more_changes;
            details.warnings.extend(
                step.notes
                    .iter()
                    .map(|note| format!("{id}: {}", shorten(&escape(note)))),
            );
        }
        details.risk = sentences.join(" ");
        for list in [&mut details.impact, &mut details.warnings] {
            if list.len() > MAX_DETAIL_ENTRIES {
                let more = list.len() - MAX_DETAIL_ENTRIES;
                list.truncate(MAX_DETAIL_ENTRIES);
                list.push(format!("and {more} more"));
            }
        }
        details
    }
}

/// Renders a step for its approver: the request, its risks, and what changes. No line is cut silently.
fn approval_lines(step: &ShownStep) -> Vec<String> {
    let mut lines = step.to_lines();
    let mut about = vec![
        format!("  target: {}", step.target),
        format!("  risk: {}", describe_risks(step.operation, &step.risks)),
    ];
    if let Some(count) = step
        .approval
        .as_ref()
        .and_then(|required| required.approvers)
    {
        about.push(format!("  approvers: {count}"));
    }
    lines.splice(1..1, about);
    lines.iter().map(|line| shorten(&escape(line))).collect()
}

/// Shortens a line, and says so.
fn shorten(line: &str) -> String {
    match line.char_indices().nth(MAX_LINE_CHARS) {
        Some((end, _)) => {
            let (start, rest) = line.split_at(end);
            format!("{start}… ({} more characters)", rest.chars().count())
        }
        None => line.to_owned(),
    }
}

fn escape(text: &str) -> String {
    crate::pipeline::approval::escape_untrusted(text)
}

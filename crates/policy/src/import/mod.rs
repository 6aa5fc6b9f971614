//! Imports rules of other gateways, where they map one to one. What does not map is reported with
//! its line and the reason; nothing is dropped in silence.

mod agentgateway;
mod expression;
mod tokens;
mod toolhive;

use std::fmt::Write;

use crate::{
    compile::MAX_NAME_BYTES,
    document::{MAX_POLICY_BYTES, yaml_options},
    expression::{Expression, MAX_EXPRESSION_BYTES},
};

/// Maximum number of rules that are imported.
const MAX_IMPORTED_RULES: usize = 1_000;

/// Maximum number of rules that stand for denials which do not map. One of them denies everything
/// already.
const MAX_STAND_INS: usize = 100;

/// Gateway whose rules are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// `mcpAuthorization` of agentgateway: rules in CEL.
    Agentgateway,
    /// Cedar policies of ToolHive, in its configuration or alone.
    Toolhive,
}

/// A policy made from the rules of another gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The policy file.
    pub text: String,
    /// Rules that do not map, with line and reason.
    pub unmapped: Vec<String>,
    /// Parts that need no rule here.
    pub notes: Vec<String>,
}

/// The file is not one of the gateway's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImportError(String);

/// Imports a file.
///
/// # Errors
/// Returns an error if the file is not one of the gateway's, or has no rules.
pub fn import(format: ImportFormat, text: &str) -> Result<Imported, ImportError> {
    if text.trim().is_empty() {
        return Err(ImportError("the file is empty".to_owned()));
    }
    let mut output = Output::default();
    match format {
        ImportFormat::Agentgateway => agentgateway::import(text, &mut output)?,
        ImportFormat::Toolhive => toolhive::import(text, &mut output)?,
    }
    if output.rules.is_empty() && output.unmapped.is_empty() {
        return Err(ImportError("the file has no rules".to_owned()));
    }
    let imported = output.finish();
    match imported.text.len() <= MAX_POLICY_BYTES {
        true => Ok(imported),
        false => Err(ImportError(format!(
            "its rules make a policy of more than {MAX_POLICY_BYTES} bytes; import parts of it"
        ))),
    }
}

fn parse_yaml(text: &str) -> Result<serde_json::Value, ImportError> {
    serde_saphyr::from_str_with_options(text, yaml_options())
        .map_err(|error| ImportError(error.without_snippet().to_string()))
}

/// Returns the line, counted from one, at which a text begins.
fn line_of(text: &str, offset: usize) -> u64 {
    let before = text.get(..offset).unwrap_or_default();
    1 + before.bytes().filter(|byte| *byte == b'\n').count() as u64
}

/// Effect of an imported rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuleEffect {
    Allow,
    Deny,
}

/// The subjects of an imported rule, as patterns.
#[derive(Clone, Debug, Default)]
struct Subjects {
    tools: Vec<String>,
    prompts: Vec<String>,
    resources: Vec<String>,
}

impl Subjects {
    fn all() -> Self {
        let any = || vec!["*".to_owned()];
        Self {
            tools: any(),
            prompts: any(),
            resources: any(),
        }
    }

    /// Returns true if a policy takes all patterns.
    fn are_names(&self) -> bool {
        let all = [&self.tools, &self.prompts, &self.resources].into_iter();
        all.flatten()
            .all(|name| !name.trim().is_empty() && name.len() <= MAX_NAME_BYTES)
    }
}

/// A rule that maps.
struct ImportedRule {
    name: String,
    effect: RuleEffect,
    subjects: Subjects,
    when: Option<String>,
}

#[derive(Default)]
struct Output {
    rules: Vec<ImportedRule>,
    unmapped: Vec<String>,
    notes: Vec<String>,
    /// Number of rules that stand for denials which do not map.
    stand_ins: usize,
    /// True if calls that no rule allows are denied.
    denies_by_default: bool,
}

impl Output {
    /// Adds a rule, or reports why it cannot be one here.
    fn add(&mut self, line: u64, rule: ImportedRule) {
        let checked = rule.when.as_deref().map(Expression::compile).transpose();
        match checked {
            Err(reason) => self.report(line, rule.effect, &reason),
            Ok(_) if !rule.subjects.are_names() => {
                let reason = format!("a name has between 1 and {MAX_NAME_BYTES} characters");
                self.report(line, rule.effect, &reason);
            }
            Ok(_) if self.rules.len() >= MAX_IMPORTED_RULES => {
                let reason = format!("there are more than {MAX_IMPORTED_RULES} rules");
                self.report(line, rule.effect, &reason);
            }
            Ok(_) => self.rules.push(rule),
        }
    }

    /// Reports a rule that does not map. One that denies becomes one that denies everything, so that
    /// its absence opens nothing.
    fn report(&mut self, line: u64, effect: RuleEffect, reason: &str) {
        self.unmapped.push(format!("line {line}: {reason}"));
        if effect == RuleEffect::Deny && self.stand_ins < MAX_STAND_INS {
            self.stand_ins += 1;
            self.rules.push(ImportedRule {
                name: format!("not imported from line {line}: replace it"),
                effect,
                subjects: Subjects::all(),
                when: None,
            });
        }
    }

    fn finish(self) -> Imported {
        let mut text = String::new();
        for unmapped in &self.unmapped {
            // A control character could end the comment, and what follows it would be a part of the policy.
            let line = unmapped.replace(is_break_or_control, " ");
            _ = writeln!(text, "# Not imported: {line}");
        }
        text.push_str("version: \"1\"\n");
        let default = match self.denies_by_default {
            true => "deny",
            false => "allow",
        };
        _ = writeln!(text, "default: {default}");
        if !self.rules.is_empty() {
            text.push_str("rules:\n");
        }
        for rule in &self.rules {
            let action = match rule.effect {
                RuleEffect::Allow => "allow",
                RuleEffect::Deny => "deny",
            };
            _ = writeln!(text, "  - name: {}", quote(&rule.name));
            _ = writeln!(text, "    action: {action}");
            text.push_str("    match:\n");
            let lists = [
                ("tools", &rule.subjects.tools),
                ("prompts", &rule.subjects.prompts),
                ("resources", &rule.subjects.resources),
            ];
            for (name, patterns) in lists {
                if patterns.is_empty() {
                    continue;
                }
                let patterns: Vec<_> = patterns.iter().map(|pattern| quote(pattern)).collect();
                _ = writeln!(text, "      {name}: [{}]", patterns.join(", "));
            }
            if let Some(when) = &rule.when {
                _ = writeln!(text, "    when: {}", quote(when));
            }
        }
        Imported {
            text,
            unmapped: self.unmapped,
            notes: self.notes,
        }
    }
}

/// Returns true for characters that no line of YAML has, and those that other programs break lines at.
fn is_break_or_control(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// Quotes a text for YAML and for CEL, which both take what JSON writes.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod properties;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;

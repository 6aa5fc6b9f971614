//! A prompt template parsed from one file.
//!
//! ```text
//! ---
//! name: rotate-api-keys
//! title: Rotate API keys
//! description: One sentence that helps to choose it from a list.
//! arguments:
//!   - name: workspace
//!     description: UUID or slug of the workspace.
//!     required: true
//!     completes: workspaces
//! ---
//! Call `list-all-api-keys` for {{workspace}} …
//! ```
//!
//! A text in backticks that is the name of a tool makes that tool one of the prompt's.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use portkey_api::catalog::Catalog;
use portkey_operation::ToolNames;
use serde::Deserialize;

use crate::{mcp::tool_names::spell_in_text, security::sanitize};

/// Maximum length of an argument's value, in characters.
pub(super) const MAX_VALUE_CHARS: usize = 1_000;

const FENCE: &str = "---";

/// A valid prompt template.
#[derive(Clone, Debug)]
pub struct PromptTemplate {
    front_matter: FrontMatter,
    body: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontMatter {
    name: String,
    title: String,
    description: String,
    #[serde(default)]
    arguments: Vec<TemplateArgument>,
}

/// An argument of a prompt, declared in the front matter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateArgument {
    /// Name, which stands in the text between double braces.
    pub name: String,
    /// Description for the person who fills it in.
    pub description: String,
    /// `true` if the prompt cannot be used without a value.
    #[serde(default)]
    pub required: bool,
    /// Value to insert if none is given.
    pub default: Option<String>,
    /// Domain of tools whose list has the possible values, such as `workspaces`.
    pub completes: Option<String>,
    /// Possible values, if they are few and known.
    #[serde(default)]
    pub values: Vec<String>,
}

/// Reason for which a file is no valid prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct PromptFileError {
    /// Line number, counted from one.
    pub line: usize,
    /// Description of the mistake.
    pub reason: String,
}

fn error_at(line: usize, reason: impl Into<String>) -> PromptFileError {
    PromptFileError {
        line,
        reason: reason.into(),
    }
}

impl PromptTemplate {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// Returns an error if front matter is missing or invalid, or if text and arguments do not
    /// match.
    pub fn parse(text: &str) -> Result<Self, PromptFileError> {
        let text = text
            .strip_prefix('\u{feff}')
            .unwrap_or(text)
            .replace("\r\n", "\n");
        let rest = text.strip_prefix("---\n");
        let rest = rest
            .ok_or_else(|| error_at(1, "a prompt begins with front matter, between lines `---`"))?;
        let lines = rest.lines().position(|line| line.trim_end() == FENCE);
        let lines = lines.ok_or_else(|| {
            error_at(1, "the front matter has no end; close it with a line `---`")
        })?;
        let yaml: String = rest
            .lines()
            .take(lines)
            .flat_map(|line| [line, "\n"])
            .collect();
        let body: String = rest
            .lines()
            .skip(lines + 1)
            .flat_map(|line| [line, "\n"])
            .collect();
        let front: FrontMatter = serde_saphyr::from_str(&yaml).map_err(|error| {
            // The fence is a line of the file, too.
            let line = error
                .location()
                .map_or(1, |place| place.line() as usize + 1);
            let reason = error.without_snippet().to_string();
            error_at(line, reason.lines().next().unwrap_or_default())
        })?;
        let prompt = Self {
            front_matter: front,
            body: body.trim().to_owned(),
        };
        prompt.validate(lines + 3)?;
        Ok(prompt)
    }

    /// Validates text and arguments against each other. `first` is the line number of the text's
    /// first line.
    fn validate(&self, first: usize) -> Result<(), PromptFileError> {
        let FrontMatter {
            name,
            title,
            description,
            arguments,
        } = &self.front_matter;
        let is_name = |name: &str, dash| {
            !name.is_empty()
                && name.len() <= 64
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == dash)
        };
        if !is_name(name, b'-') {
            let reason = "`name` is made of a to z, 0 to 9 and `-`, at most 64 of them";
            return Err(error_at(1, reason));
        }
        if title.trim().is_empty() || description.trim().is_empty() || self.body.is_empty() {
            return Err(error_at(1, "title, description and text may not be empty"));
        }
        let mut declared = BTreeSet::new();
        for TemplateArgument {
            name, completes, ..
        } in arguments
        {
            if let Some(domain) = completes
                && !Catalog::domains().contains(&domain.as_str())
            {
                let reason = format!(
                    "the argument `{name}` completes `{domain}`, which is no domain of tools"
                );
                return Err(error_at(1, reason));
            }
            if !is_name(name, b'_') {
                let reason = format!(
                    "the argument `{name}` has a name of other than a to z, 0 to 9 and `_`"
                );
                return Err(error_at(1, reason));
            }
            if !declared.insert(name.as_str()) {
                return Err(error_at(
                    1,
                    format!("the argument `{name}` is declared twice"),
                ));
            }
        }
        let mut used = BTreeSet::new();
        for (number, line) in self.body.lines().enumerate() {
            for part in split_parts(line) {
                let name = match part {
                    BodyPart::Text(_) => continue,
                    BodyPart::Placeholder(name) => name,
                    BodyPart::Unclosed(_) => {
                        let reason = "`{{` is not closed; put `}}` on the same line";
                        return Err(error_at(first + number, reason));
                    }
                };
                if !declared.contains(name) {
                    let reason = format!("`{{{{{name}}}}}` is no argument; declare it above");
                    return Err(error_at(first + number, reason));
                }
                used.insert(name);
            }
        }
        match declared.difference(&used).next() {
            Some(name) => Err(error_at(
                1,
                format!("the argument `{name}` is never used in the text"),
            )),
            None => Ok(()),
        }
    }

    /// Returns the name by which clients request the prompt.
    pub fn name(&self) -> &str {
        &self.front_matter.name
    }

    /// Returns the title for display.
    pub fn title(&self) -> &str {
        &self.front_matter.title
    }

    /// Returns the description, one sentence.
    pub fn description(&self) -> &str {
        &self.front_matter.description
    }

    /// Returns the declared arguments.
    pub fn arguments(&self) -> &[TemplateArgument] {
        &self.front_matter.arguments
    }

    /// Returns the declared argument of that name.
    pub fn argument(&self, name: &str) -> Option<&TemplateArgument> {
        self.front_matter
            .arguments
            .iter()
            .find(|argument| argument.name == name)
    }

    /// Returns the texts in backticks that could be names of tools, in the order of the text.
    pub fn mentioned_tools(&self) -> impl Iterator<Item = &str> {
        let could_be = |name: &&str| {
            name.contains('-') && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        };
        self.body.split('`').skip(1).step_by(2).filter(could_be)
    }

    /// Replaces the placeholders by values. A placeholder inside a value is not replaced.
    ///
    /// Names of tools in the text get the listed spelling, those in values do not.
    pub(super) fn fill(&self, values: &BTreeMap<&str, String>, names: ToolNames) -> String {
        self.body
            .split_inclusive('\n')
            .flat_map(split_parts)
            .map(|part| match part {
                BodyPart::Placeholder(name) => {
                    Cow::Borrowed(values.get(name).map_or("", String::as_str))
                }
                BodyPart::Text(text) | BodyPart::Unclosed(text) => spell_in_text(names, text),
            })
            .collect()
    }
}

/// A part of a line.
enum BodyPart<'a> {
    Text(&'a str),
    /// Name between double braces.
    Placeholder(&'a str),
    /// Rest of the line from double braces that are not closed, braces included.
    Unclosed(&'a str),
}

/// Splits one line into parts. Braces on different lines do not belong together.
fn split_parts(line: &str) -> impl Iterator<Item = BodyPart<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = match rest.find("{{") {
            None => BodyPart::Text(std::mem::take(&mut rest)),
            Some(0) => match rest.get(2..).and_then(|inner| inner.split_once("}}")) {
                Some((name, after)) => {
                    rest = after;
                    BodyPart::Placeholder(name.trim())
                }
                None => BodyPart::Unclosed(std::mem::take(&mut rest)),
            },
            Some(at) => {
                let (text, open) = rest.split_at(at);
                rest = open;
                BodyPart::Text(text)
            }
        };
        Some(part)
    })
}

/// Returns a value on one line and without invisible characters, as it may be inserted into a text;
/// `None` if it is too long.
pub(super) fn normalize_value(value: &str) -> Option<String> {
    if value.chars().count() > MAX_VALUE_CHARS {
        return None;
    }
    let clean = sanitize::sanitize_text(value).unwrap_or_else(|| value.to_owned());
    Some(clean.split_whitespace().collect::<Vec<_>>().join(" "))
}

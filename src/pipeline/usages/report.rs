//! What uses a resource: data for answers, approval requests and plans.

use std::{collections::BTreeMap, fmt::Write};

use portkey_api::references::ResourceKind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::User;
use crate::security::sanitize::first_chars;

/// Maximum number of users of each kind that an impact names.
pub const MAX_NAMED_USERS: usize = 20;
/// Maximum number of users of each kind in an answer, unless more are asked for.
pub const DEFAULT_NAMED_USERS: usize = 5;
/// Length of an answer above which fewer users are named, in bytes.
const MAX_SHORT_BYTES: usize = 1_500;
/// Maximum length of a name, in characters.
const MAX_NAME_CHARS: usize = 60;

/// The resource whose usages were looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageTarget {
    /// Kind, such as `integration`.
    pub kind: String,
    /// The name that was given.
    pub given: String,
    /// Id, if it is known.
    pub id: Option<String>,
    /// Slug, if it is known.
    pub slug: Option<String>,
    /// Display name, if it is known.
    pub name: Option<String>,
}

impl UsageTarget {
    /// Returns the slug, or else the id.
    pub fn handle(&self) -> &str {
        let handle = self.slug.as_deref().or(self.id.as_deref());
        handle.unwrap_or(&self.given)
    }

    /// Returns all names by which others refer to it.
    pub(super) fn handles(&self) -> Vec<String> {
        let mut all = vec![self.given.trim_start_matches('@').to_owned()];
        all.extend(self.id.clone());
        all.extend(self.slug.clone());
        all
    }
}

/// What depends on a resource. Everything in it may be shown to the caller, whose reads found it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Impact {
    /// One line, such as `3 workspaces, 3 providers, 1 config, 75,589 requests in 30 days`.
    pub summary: String,
    /// Users by kind.
    pub used_by: Vec<ImpactGroup>,
    /// Requests in the last 30 days, if analytics can tell.
    pub requests_30d: Option<u64>,
    /// Facts that no count shows, in sentences.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What could not be looked up, in sentences. The counts are then lower bounds.
    pub not_seen: Vec<String>,
    /// True if `not_seen` has nothing but what is beyond the reach of the key.
    #[serde(skip)]
    pub is_within_reach: bool,
    /// True if the users are those that the resource serves, and that do not name it.
    #[serde(skip)]
    pub is_of_served: bool,
}

/// Users of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ImpactGroup {
    /// Kind, such as `config`.
    pub kind: String,
    /// Number of users.
    pub count: usize,
    /// The first of them.
    pub first: Vec<ImpactUser>,
    #[serde(skip)]
    sort_key: Option<ResourceKind>,
    #[serde(skip)]
    keys: Vec<String>,
}

/// A resource that uses another.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ImpactUser {
    /// Slug, or else id.
    pub id: String,
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Workspace, for a provider whose slug others have, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Place of the reference.
    pub at: String,
}

/// The usages of a resource.
#[derive(Clone, Debug)]
pub struct UsageReport {
    /// The resource.
    pub target: UsageTarget,
    /// What uses it.
    pub impact: Impact,
    /// Number of calls that found it out.
    pub calls: usize,
}

impl Impact {
    /// Returns the impact of a lookup that found out nothing.
    pub fn unknown(reason: String) -> Self {
        Self {
            summary: "what depends on it is not known".to_owned(),
            not_seen: vec![reason],
            ..Self::default()
        }
    }

    /// Returns true if nothing that depends on the resource may have been overlooked.
    pub fn is_complete(&self) -> bool {
        self.not_seen.is_empty()
    }

    /// Returns true if nothing that the key may see and that depends on the resource may have been overlooked.
    pub fn is_complete_within_reach(&self) -> bool {
        self.is_complete() || self.is_within_reach
    }

    pub(super) fn add(&mut self, user: User) {
        let key = user
            .row
            .id
            .clone()
            .unwrap_or_else(|| user.row.handle().to_owned());
        let known = self
            .used_by
            .iter_mut()
            .find(|group| group.sort_key == Some(user.kind));
        let group = match known {
            Some(group) => group,
            None => {
                self.used_by.push(ImpactGroup {
                    kind: user.kind.as_str().to_owned(),
                    count: 0,
                    first: Vec::new(),
                    sort_key: Some(user.kind),
                    keys: Vec::new(),
                });
                match self.used_by.last_mut() {
                    Some(group) => group,
                    None => return,
                }
            }
        };
        // A resource that refers to it several times counts once.
        if group.keys.contains(&key) {
            return;
        }
        group.keys.push(key);
        group.count += 1;
        let short = |text: &str| first_chars(text, MAX_NAME_CHARS).to_owned();
        group.first.push(ImpactUser {
            id: short(user.row.handle()),
            name: user.row.name.as_deref().map(short),
            workspace: None,
            at: user.place,
        });
    }

    pub(super) fn sort(&mut self) {
        self.used_by.sort_by_key(|group| group.sort_key);
    }

    pub(super) fn handles_of(&self, kind: ResourceKind) -> Vec<String> {
        let groups = self
            .used_by
            .iter()
            .filter(|group| group.sort_key == Some(kind));
        groups
            .flat_map(|group| &group.first)
            .map(|user| user.id.clone())
            .collect()
    }

    /// Returns true if several users of a kind have the same handle.
    pub(super) fn has_doubles(&self, kind: ResourceKind) -> bool {
        let mut handles = self.handles_of(kind);
        let count = handles.len();
        handles.sort_unstable();
        handles.dedup();
        handles.len() < count
    }

    /// Adds the workspaces of the users of a kind, by the ids of the users.
    pub(super) fn set_workspaces(
        &mut self,
        kind: ResourceKind,
        workspaces: &BTreeMap<String, String>,
    ) {
        let mut groups = self.used_by.iter_mut();
        if let Some(group) = groups.find(|group| group.sort_key == Some(kind)) {
            for (user, key) in group.first.iter_mut().zip(&group.keys) {
                user.workspace = workspaces.get(key).cloned();
            }
        }
    }

    /// Writes the summary.
    pub(super) fn summarize(&mut self) {
        let mut parts: Vec<String> = self
            .used_by
            .iter()
            .filter_map(|group| {
                let noun = group.sort_key?.noun(group.count);
                Some(format!("{} {noun}", with_separators(group.count as u64)))
            })
            .collect();
        if parts.is_empty() {
            parts.push("nothing refers to it".to_owned());
        }
        if let Some(requests) = self.requests_30d {
            let noun = if requests == 1 { "request" } else { "requests" };
            parts.push(format!("{} {noun} in 30 days", with_separators(requests)));
        }
        self.summary = parts.join(", ");
        if !self.not_seen.is_empty() {
            self.summary = format!("at least {}; not everything could be seen", self.summary);
            if self.used_by.is_empty() {
                self.summary = "nothing was found, and not everything could be seen".to_owned();
            }
        }
    }

    /// Drops the users beyond the first of each kind.
    pub(super) fn into_public(mut self) -> Self {
        for group in &mut self.used_by {
            group.first.truncate(MAX_NAMED_USERS);
            group.keys = Vec::new();
        }
        self
    }

    /// Serializes the impact with the first `limit` users of each kind.
    pub fn to_json(&self, limit: usize) -> Value {
        let mut shown = self.clone();
        for group in &mut shown.used_by {
            group.first.truncate(limit);
        }
        let mut value = json!({ "summary": shown.summary, "used_by": shown.used_by });
        if let Some(fields) = value.as_object_mut() {
            if let Some(requests) = shown.requests_30d {
                fields.insert("requests_30d".to_owned(), requests.into());
            }
            if !shown.notes.is_empty() {
                fields.insert("notes".to_owned(), shown.notes.into());
            }
            if !shown.not_seen.is_empty() {
                fields.insert("not_seen".to_owned(), shown.not_seen.into());
            }
        }
        value
    }

    /// Renders the impact as plain lines: the summary, and the first `limit` users of each kind.
    pub fn to_lines(&self, limit: usize) -> Vec<String> {
        let mut lines = vec![self.summary.clone()];
        for group in &self.used_by {
            for user in group.first.iter().take(limit) {
                let mut line = format!("{} {}", group.kind, user.id);
                if let Some(name) = &user.name {
                    _ = write!(line, " ({name})");
                }
                if let Some(workspace) = &user.workspace {
                    _ = write!(line, " of {workspace}");
                }
                _ = write!(line, " at {}", user.at);
                lines.push(line);
            }
            if let Some(more) = group.count.checked_sub(limit).filter(|more| *more > 0) {
                lines.push(format!("{} and {more} more", group.kind));
            }
        }
        lines.extend(self.notes.iter().cloned());
        lines.extend(self.not_seen.iter().map(|what| format!("not seen: {what}")));
        lines
    }
}

impl UsageReport {
    /// Serializes the report with as many users of each kind as fit into a short answer.
    pub fn to_short_json(&self) -> Value {
        let mut limit = DEFAULT_NAMED_USERS;
        loop {
            let value = self.to_json(limit);
            if limit == 0 || value.to_string().len() <= MAX_SHORT_BYTES {
                return value;
            }
            limit -= 1;
        }
    }

    /// Serializes the report with the first `limit` users of each kind.
    pub fn to_json(&self, limit: usize) -> Value {
        let mut target = json!({ "kind": self.target.kind });
        if let Some(fields) = target.as_object_mut() {
            let parts = [
                ("id", &self.target.id),
                ("slug", &self.target.slug),
                ("name", &self.target.name),
            ];
            for (name, value) in parts {
                if let Some(value) = value {
                    fields.insert(name.to_owned(), value.as_str().into());
                }
            }
        }
        let mut value = json!({ "target": target });
        if let (Some(fields), Value::Object(impact)) =
            (value.as_object_mut(), self.impact.to_json(limit))
        {
            fields.extend(impact);
            fields.insert("calls".to_owned(), self.calls.into());
        }
        value
    }
}

/// Formats a number with separators of thousands.
fn with_separators(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_of_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (75_589, "75,589"),
            (1_000_000, "1,000,000"),
        ] {
            assert_eq!(with_separators(number), text);
        }
    }
}

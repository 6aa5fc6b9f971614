//! Differences of two documents: paths with old and new values.

use std::time::Duration;

use serde_json::Value;
use similar::TextDiff;

use super::{
    JsonObject,
    list_rules::{ListRules, MatchedEntry},
    messages::render_messages,
    path::{DocumentPath, PathStep},
    size::MAX_DEPTH,
};

/// Maximum number of changes that a difference lists. The others are counted.
pub const MAX_CHANGES: usize = 500;
/// Maximum size of each text that is compared line by line, in bytes.
const MAX_LINE_DIFF_BYTES: usize = 200_000;
/// Maximum time to look for the smallest difference of two texts.
const MAX_DIFF_TIME: Duration = Duration::from_millis(200);
/// Number of unchanged lines around a changed one.
const CONTEXT_LINES: usize = 2;

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Path of the value.
    pub path: DocumentPath,
    /// Old value; `None` if there was none.
    pub old: Option<Value>,
    /// New value; `None` if there is none.
    pub new: Option<Value>,
}

/// The differences of two documents, in the order of the new one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    /// The first differences, at most [`MAX_CHANGES`].
    pub changes: Vec<Change>,
    /// Number of differences that are not listed.
    pub omitted: usize,
}

impl Diff {
    /// Compares two documents. The entries of keyed lists are compared by their key, and items of
    /// other lists by their position if the lists have the same length.
    pub fn between(old: &Value, new: &Value, rules: ListRules) -> Self {
        let mut builder = DiffBuilder {
            rules,
            diff: Self::default(),
        };
        builder.compare(&DocumentPath::default(), "", old, new, MAX_DEPTH);
        builder.diff
    }

    /// Returns true if the documents are equal.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the differences in the other direction.
    #[must_use]
    pub fn invert(self) -> Self {
        let invert = |change: Change| Change {
            path: change.path,
            old: change.new,
            new: change.old,
        };
        Self {
            changes: self.changes.into_iter().map(invert).collect(),
            omitted: self.omitted,
        }
    }

    /// Applies the differences to the old document, which yields the new one. Differences that are
    /// not listed are not applied, and neither are those whose path the document lacks.
    pub fn apply(&self, document: &Value) -> Value {
        let mut document = document.clone();
        // Entries are removed from the end, so that the positions of the others stay.
        let removed = |change: &&Change| change.is_entry() && change.new.is_none();
        let mut removals: Vec<_> = self.changes.iter().filter(removed).collect();
        removals.sort_by_key(|change| std::cmp::Reverse(change.entry_index()));
        let added = |change: &&Change| change.is_entry() && change.old.is_none();
        let mut additions: Vec<_> = self.changes.iter().filter(added).collect();
        additions.sort_by_key(|change| change.entry_index());
        for change in &self.changes {
            let is_moved = change.is_entry() && (change.old.is_none() || change.new.is_none());
            if !is_moved {
                change.apply(&mut document, change.path.steps());
            }
        }
        for change in removals.into_iter().chain(additions) {
            change.apply(&mut document, change.path.steps());
        }
        document
    }
}

impl Change {
    fn is_entry(&self) -> bool {
        matches!(self.path.steps().last(), Some(PathStep::Entry { .. }))
    }

    fn entry_index(&self) -> Option<usize> {
        match self.path.steps().last() {
            Some(PathStep::Entry { index, .. }) => Some(*index),
            _ => None,
        }
    }

    fn apply(&self, value: &mut Value, steps: &[PathStep]) {
        let Some((step, rest)) = steps.split_first() else {
            *value = self.new.clone().unwrap_or_default();
            return;
        };
        let is_last = rest.is_empty();
        match (step, value) {
            (PathStep::Field(name), Value::Object(fields)) if is_last => match &self.new {
                Some(new) => _ = fields.insert(name.clone(), new.clone()),
                None => _ = fields.shift_remove(name),
            },
            (PathStep::Field(name), Value::Object(fields)) => {
                if let Some(value) = fields.get_mut(name) {
                    self.apply(value, rest);
                }
            }
            (PathStep::Index(index), Value::Array(items)) => {
                if let Some(item) = items.get_mut(*index) {
                    self.apply(item, rest);
                }
            }
            (PathStep::Entry { key, index }, Value::Array(items)) => {
                let of_key = DocumentPath::from_iter([PathStep::Entry {
                    key: key.clone(),
                    index: *index,
                }]);
                let found = items.iter().position(|item| {
                    let one = Value::Array(vec![item.clone()]);
                    of_key.find(&one).is_some()
                });
                match (found, &self.new, is_last) {
                    (Some(at), None, true) => _ = items.remove(at),
                    (None, Some(new), true) => {
                        items.insert((*index).min(items.len()), new.clone());
                    }
                    (Some(at), _, _) => {
                        if let Some(item) = items.get_mut(at) {
                            self.apply(item, rest);
                        }
                    }
                    (None, _, _) => {}
                }
            }
            _ => {}
        }
    }

    /// Returns the difference of two texts line by line, if both values are texts of several lines.
    pub fn line_diff(&self) -> Option<String> {
        match (&self.old, &self.new) {
            (Some(Value::String(old)), Some(Value::String(new))) => diff_lines(old, new),
            _ => None,
        }
    }
}

/// Compares two texts line by line, as a unified difference without a header. Chat messages in JSON are
/// compared as they are rendered. Returns `None` for texts of one line, and for those that are too long
/// to compare.
pub fn diff_lines(old: &str, new: &str) -> Option<String> {
    let rendered = [old, new].map(render_messages);
    if let [old_text, new_text] = &rendered
        && (old_text.is_some() || new_text.is_some())
    {
        let old_text = old_text.as_deref().unwrap_or(old);
        let new_text = new_text.as_deref().unwrap_or(new);
        // Messages may differ in what is not rendered, such as the order of their fields.
        if old_text != new_text {
            return Some(unified_diff(old_text, new_text));
        }
    }
    let is_comparable = |text: &str| text.len() <= MAX_LINE_DIFF_BYTES;
    let has_lines = old.contains('\n') || new.contains('\n');
    if !has_lines || !is_comparable(old) || !is_comparable(new) {
        return None;
    }
    Some(unified_diff(old, new))
}

/// Compares two texts line by line, as a unified difference without a header. After 200 ms it is a
/// valid difference, but no longer the smallest.
pub fn unified_diff(old: &str, new: &str) -> String {
    let diff = TextDiff::configure()
        .timeout(MAX_DIFF_TIME)
        .diff_lines(old, new);
    let mut unified = diff.unified_diff();
    unified
        .context_radius(CONTEXT_LINES)
        .missing_newline_hint(false);
    unified.to_string()
}

struct DiffBuilder {
    rules: ListRules,
    diff: Diff,
}

impl DiffBuilder {
    /// Compares two values. `rule_path` is the path in the form of the list rules.
    fn compare(
        &mut self,
        path: &DocumentPath,
        rule_path: &str,
        old: &Value,
        new: &Value,
        depth: usize,
    ) {
        if old == new {
            return;
        }
        match (old, new) {
            (Value::Object(before), Value::Object(after)) if depth > 0 => {
                self.compare_objects(path, rule_path, before, after, depth);
            }
            (Value::Array(before), Value::Array(after)) if depth > 0 => {
                let inside = format!("{rule_path}[]");
                match self.rules.match_entries(rule_path, before, after) {
                    Some(entries) => {
                        self.compare_entries(path, &inside, &entries, (before, after), depth);
                    }
                    None if before.len() == after.len() => {
                        for (index, (old, new)) in before.iter().zip(after).enumerate() {
                            let path = path.join(PathStep::Index(index));
                            self.compare(&path, &inside, old, new, depth - 1);
                        }
                    }
                    None => self.push(path.clone(), Some(old), Some(new)),
                }
            }
            _ => self.push(path.clone(), Some(old), Some(new)),
        }
    }

    fn compare_objects(
        &mut self,
        path: &DocumentPath,
        rule_path: &str,
        before: &JsonObject,
        after: &JsonObject,
        depth: usize,
    ) {
        for (name, new) in after {
            let path = path.join(PathStep::Field(name.clone()));
            let rule_path = match rule_path {
                "" => name.clone(),
                at => format!("{at}.{name}"),
            };
            match before.get(name) {
                Some(old) => self.compare(&path, &rule_path, old, new, depth - 1),
                None => self.push(path, None, Some(new)),
            }
        }
        for (name, old) in before {
            if !after.contains_key(name) {
                self.push(path.join(PathStep::Field(name.clone())), Some(old), None);
            }
        }
    }

    fn compare_entries(
        &mut self,
        path: &DocumentPath,
        rule_path: &str,
        entries: &[MatchedEntry],
        (before, after): (&[Value], &[Value]),
        depth: usize,
    ) {
        for entry in entries {
            let path = path.join(PathStep::Entry {
                key: entry.key.clone(),
                index: entry.new.or(entry.old).unwrap_or_default(),
            });
            let old = entry.old.and_then(|index| before.get(index));
            let new = entry.new.and_then(|index| after.get(index));
            match (old, new) {
                (Some(old), Some(new)) => self.compare(&path, rule_path, old, new, depth - 1),
                (old, new) => self.push(path, old, new),
            }
        }
    }

    fn push(&mut self, path: DocumentPath, old: Option<&Value>, new: Option<&Value>) {
        if self.diff.changes.len() >= MAX_CHANGES {
            self.diff.omitted += 1;
            return;
        }
        self.diff.changes.push(Change {
            path,
            old: old.cloned(),
            new: new.cloned(),
        });
    }
}

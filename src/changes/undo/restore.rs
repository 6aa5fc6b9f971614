//! Computes which values an undo of an update restores. Performs no I/O.

use portkey_merge_patch::{Change, Diff, Patch};
use portkey_operation::{FieldUpdate, JsonMap, UpdateRules};
use portkey_policy::REDACTED;
use serde_json::Value;

use crate::{
    pipeline::state_fields::is_same,
    security::secrets::{BLANK, MASK, is_masked},
};

/// An update, and the states around it in the form of the arguments.
pub(super) struct UpdateUndo<'a> {
    pub(super) rules: &'a UpdateRules,
    /// State before the update.
    pub(super) before: Value,
    /// Arguments that changed something, with secrets blanked.
    pub(super) sent: &'a JsonMap,
    /// State now.
    pub(super) current: Value,
    /// True if nothing has changed since the update.
    pub(super) is_current: bool,
}

/// The values that an undo restores.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// Differences from the state now to the one before the update.
    pub(super) diff: Diff,
    /// Paths of values that cannot be restored.
    pub(super) not_restored: Vec<String>,
}

impl UpdateUndo<'_> {
    /// Computes what the undo restores.
    ///
    /// # Errors
    /// Returns the paths of values that have changed since, unless `force` is true.
    pub(super) fn compute(&self, force: bool) -> Result<Restored, Vec<String>> {
        let mut restored = Restored::default();
        let mut moved = Vec::new();
        if self.is_current && !force {
            // Some fields change without a new version, so that the version alone says too little.
            let made = self.made_changes().changes.into_iter();
            moved.extend(
                made.filter(|change| self.has_moved(change))
                    .map(|change| change.path.to_string()),
            );
        }
        for change in self.undo_changes() {
            let now = change.path.find(&self.current);
            let name = change.path.first_field().unwrap_or_default();
            if is_same(now, change.new.as_ref()) {
                // An entry that was sent and that is in no state: nothing shows that it was taken back.
                let merges_entries =
                    matches!(self.rules.field_update(name), FieldUpdate::MergeEntries(_));
                if merges_entries && now.is_none() && change.old.is_some() && !force {
                    moved.push(change.path.to_string());
                }
                continue;
            }
            if self.is_unreadable(name) || change.new.as_ref().is_some_and(has_hidden) {
                restored.not_restored.push(change.path.to_string());
                continue;
            }
            if !self.is_current && !force && self.has_moved(&change) {
                moved.push(change.path.to_string());
                continue;
            }
            restored.diff.changes.push(Change {
                old: now.cloned(),
                ..change
            });
        }
        self.add_lost_secrets(&mut restored.not_restored);
        match moved.is_empty() {
            true => Ok(restored),
            false => Err(moved),
        }
    }

    /// Adds hidden values of the fields that were sent, if they are not there any more. An upstream may
    /// have replaced an object that it was expected to merge.
    fn add_lost_secrets(&self, not_restored: &mut Vec<String>) {
        for name in self.sent.keys().filter(|name| !self.is_unreadable(name)) {
            let before = self.before.get(name);
            let Some(before) = before.filter(|before| before.is_object()) else {
                continue;
            };
            for path in lost_secrets(name, before, self.current.get(name)) {
                let is_named = |known: &String| {
                    let rest = path.strip_prefix(known.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                if !not_restored.iter().any(is_named) {
                    not_restored.push(path);
                }
            }
        }
    }

    fn is_unreadable(&self, name: &str) -> bool {
        matches!(
            self.rules.field_update(name),
            FieldUpdate::WriteOnly | FieldUpdate::NotInPatch(_)
        )
    }

    /// Returns true if a value is neither the one that the update made nor the one before it.
    fn has_moved(&self, change: &Change) -> bool {
        let now = change.path.find(&self.current);
        let name = change.path.first_field().unwrap_or_default();
        let is_hidden = change.new.as_ref().is_some_and(has_hidden);
        if self.is_unreadable(name) || is_hidden || is_same(now, change.new.as_ref()) {
            return false;
        }
        match &change.old {
            Some(old) => !(now.is_some_and(|now| contains_sent(now, old)) || is_empty(old, now)),
            None => !now.is_none_or(Value::is_null),
        }
    }

    /// Returns the differences from the state after the update to the one before it.
    fn undo_changes(&self) -> Vec<Change> {
        if !self.is_current {
            return self.made_changes().changes;
        }
        // What was sent says less than what is there: the upstream may have completed it.
        let touched = |name: &str| match self.rules.partial_flag() {
            Some(flag)
                if self
                    .sent
                    .keys()
                    .any(|sent| !flag.unversioned.contains(&sent.as_str())) =>
            {
                !flag.unversioned.contains(&name) || self.sent.contains_key(name)
            }
            _ => self.sent.contains_key(name),
        };
        let is_field = |name: &str| {
            // A new version has other metadata of its own, such as its number and its time.
            self.sent.contains_key(name) || self.rules.partial_flag().is_none()
        };
        let pick = |state: &Value| {
            let fields = state.as_object().into_iter().flatten();
            let picked = fields.filter(|(name, _)| touched(name) && is_field(name));
            let picked: JsonMap = picked
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            Value::Object(picked)
        };
        let mut diff = Diff::between(
            &pick(&self.current),
            &pick(&self.before),
            self.rules.list_rules(),
        );
        diff.changes.extend(self.unreadable_changes());
        diff.changes
    }

    /// Returns the differences from the state that the update should have made to the one before it.
    pub(super) fn made_changes(&self) -> Diff {
        let after = self.after();
        let mut diff = Diff::between(&after, &self.before, self.rules.list_rules());
        diff.changes.extend(self.unreadable_changes());
        diff
    }

    /// Returns the fields that were sent and that no state has.
    fn unreadable_changes(&self) -> Vec<Change> {
        let flag = self.rules.partial_flag();
        let fields = self.sent.iter().filter(|(name, value)| {
            let is_flag = flag.is_some_and(|flag| flag.argument == name.as_str());
            let is_write_only = matches!(
                self.rules.field_update(name),
                FieldUpdate::WriteOnly | FieldUpdate::NotInPatch(_)
            );
            !is_flag && (is_write_only || **value == BLANK)
        });
        fields
            .map(|(name, value)| Change {
                path: portkey_merge_patch::DocumentPath::parse(name),
                old: Some(value.clone()),
                new: Some(BLANK.into()),
            })
            .collect()
    }

    /// Returns the state that the update should have made.
    fn after(&self) -> Value {
        let mut after = self.before.clone();
        let Some(fields) = after.as_object_mut() else {
            return after;
        };
        for (name, sent) in self.sent {
            let is_flag = self
                .rules
                .partial_flag()
                .is_some_and(|flag| flag.argument == name);
            if is_flag || *sent == BLANK {
                continue;
            }
            let declared = self
                .rules
                .fields()
                .iter()
                .find(|field| field.name() == name);
            let sent = match sent {
                Value::String(text) if declared.is_some_and(|field| field.is_json_text()) => {
                    serde_json::from_str(text).unwrap_or_else(|_| sent.clone())
                }
                sent => sent.clone(),
            };
            let merged = match self.rules.field_update(name) {
                FieldUpdate::Merge | FieldUpdate::MergeEntries(_) => {
                    let one = [(name.clone(), sent.clone())].into_iter().collect();
                    let state = Value::Object(fields.clone());
                    let merged = Patch::Merge(one).apply(&state, self.rules.list_rules());
                    merged.ok().and_then(|merged| merged.get(name).cloned())
                }
                FieldUpdate::Replace => Some(sent.clone()),
                FieldUpdate::WriteOnly | FieldUpdate::NotInPatch(_) => continue,
            };
            match merged.filter(|value| !value.is_null()) {
                Some(merged) => _ = fields.insert(name.clone(), merged),
                None => _ = fields.shift_remove(name),
            }
        }
        if let Some(switch) = self.rules.switch() {
            if self.sent.get(switch.flag).is_some_and(|flag| *flag == true) {
                fields.shift_remove(switch.list);
            } else if self.sent.contains_key(switch.list) {
                fields.insert(switch.flag.to_owned(), false.into());
            }
        }
        after
    }
}

/// Adds the entries that an update made to the state before it, switched off: no update removes an entry.
pub(super) fn add_withdrawn_entries(
    rules: &UpdateRules,
    sent: &JsonMap,
    now: &JsonMap,
    before: &mut JsonMap,
) {
    for field in rules.fields() {
        let Some(flag) = field.withdrawal_flag() else {
            continue;
        };
        let name = field.name();
        let key = rules.entry_key(name);
        let key_of = |entry: &Value| -> Option<Vec<Value>> {
            key.iter().map(|field| entry.get(*field).cloned()).collect()
        };
        let keys_in = |state: &JsonMap| -> Vec<Vec<Value>> {
            let entries = state.get(name).and_then(Value::as_array);
            entries.into_iter().flatten().filter_map(key_of).collect()
        };
        let named = keys_in(sent);
        let known = keys_in(before);
        let entries = now.get(name).and_then(Value::as_array);
        let is_new = |entry: &&Value| {
            key_of(entry).is_some_and(|key| named.contains(&key) && !known.contains(&key))
        };
        let new = entries.into_iter().flatten().filter(is_new);
        let withdrawn: Vec<Value> = new
            .filter_map(Value::as_object)
            .map(|entry| {
                let mut entry = entry.clone();
                entry.insert(flag.to_owned(), false.into());
                entry.into()
            })
            .collect();
        if withdrawn.is_empty() {
            continue;
        }
        match before.get_mut(name) {
            Some(Value::Array(entries)) => entries.extend(withdrawn),
            _ => _ = before.insert(name.to_owned(), withdrawn.into()),
        }
    }
}

/// Returns true if a state has what was sent: APIs add fields and defaults, and write some values in
/// another form. What is hidden counts as the same.
pub(super) fn contains_sent(state: &Value, sent: &Value) -> bool {
    match (state, sent) {
        (_, Value::String(text)) if is_hidden(text) => true,
        (Value::String(text), _) if is_hidden(text) => true,
        (Value::Object(state), Value::Object(sent)) => {
            sent.iter().all(|(name, value)| match state.get(name) {
                Some(state) => contains_sent(state, value),
                None => is_empty(value, None),
            })
        }
        (Value::Array(state), Value::Array(sent)) => {
            let mut pairs = state.iter().zip(sent);
            state.len() == sent.len() && pairs.all(|(state, sent)| contains_sent(state, sent))
        }
        (state, sent) => is_same(Some(state), Some(sent)),
    }
}

/// Returns true if a value that was sent and what is there are both nothing.
fn is_empty(sent: &Value, now: Option<&Value>) -> bool {
    now.is_none_or(Value::is_null)
        && match sent {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.values().all(|value| is_empty(value, None)),
            Value::String(text) => text.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        }
}

/// Returns the names of fields that a state has with another value than was sent.
pub(super) fn differing_fields(sent: &JsonMap, state: &JsonMap) -> Vec<String> {
    let differing = sent.iter().filter(|(name, value)| {
        state
            .get(*name)
            .is_some_and(|state| !contains_sent(state, value) && !is_empty(value, Some(state)))
    });
    differing.map(|(name, _)| name.clone()).collect()
}

/// Returns the paths of hidden values in objects that are not as before.
fn lost_secrets(path: &str, before: &Value, now: Option<&Value>) -> Vec<String> {
    match before {
        Value::Object(fields) => {
            let inner = fields.iter().flat_map(|(name, before)| {
                let path = portkey_operation::field_path(path, name);
                lost_secrets(&path, before, now.and_then(|now| now.get(name)))
            });
            inner.collect()
        }
        Value::String(text) if is_hidden(text) && now != Some(before) => vec![path.to_owned()],
        _ => Vec::new(),
    }
}

/// Returns true if a value is or contains one that is hidden from callers.
pub(super) fn has_hidden(value: &Value) -> bool {
    match value {
        Value::String(text) => is_hidden(text),
        Value::Array(items) => items.iter().any(has_hidden),
        Value::Object(fields) => fields.values().any(has_hidden),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_hidden(text: &str) -> bool {
    text == BLANK || text.contains(MASK) || text.contains(REDACTED) || is_masked(text)
}

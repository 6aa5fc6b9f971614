//! Merge patches (RFC 7396), with keyed lists.

use serde_json::Value;

use super::{
    JsonObject, PatchError,
    list_rules::{EntryKey, KeyedList, ListRules},
};

/// The field that removes an entry of a keyed list. It is never stored.
pub const DELETE_MARKER: &str = "_delete";

/// Merges patches by the rules of a document.
pub(crate) struct Merger {
    pub(crate) rules: ListRules,
    /// True if an object that meets a stored list is an error. RFC 7396 replaces the list.
    pub(crate) protects_lists: bool,
}

impl Merger {
    /// Merges the fields of a patch into an object. `at` is the path of the object.
    pub(crate) fn merge_object(
        &self,
        stored: &mut JsonObject,
        patch: &JsonObject,
        at: &str,
    ) -> Result<(), PatchError> {
        for (name, change) in patch {
            let path = join(at, name);
            match self.rules.find(&path) {
                Some(list) => self.merge_list(stored, name, change, list)?,
                None => self.merge_field(stored, name, change, &path)?,
            }
        }
        Ok(())
    }

    /// Applies RFC 7396 to one field of an object.
    fn merge_field(
        &self,
        stored: &mut JsonObject,
        name: &str,
        change: &Value,
        path: &str,
    ) -> Result<(), PatchError> {
        match change {
            Value::Null => _ = stored.shift_remove(name),
            Value::Object(patch) => {
                if self.protects_lists && stored.get(name).is_some_and(Value::is_array) {
                    return Err(PatchError::ObjectForList(path.to_owned()));
                }
                // Changed in place; begins with an empty object if there is none.
                let mut inner = match stored.get_mut(name).map(Value::take) {
                    Some(Value::Object(inner)) => inner,
                    _ => JsonObject::new(),
                };
                let outcome = self.merge_object(&mut inner, patch, path);
                stored.insert(name.to_owned(), Value::Object(inner));
                outcome?;
            }
            whole => _ = stored.insert(name.to_owned(), whole.clone()),
        }
        Ok(())
    }

    fn merge_list(
        &self,
        stored: &mut JsonObject,
        name: &str,
        change: &Value,
        list: &KeyedList,
    ) -> Result<(), PatchError> {
        let changes = match change {
            Value::Null if list.is_lenient => {
                stored.insert(name.to_owned(), Value::Array(Vec::new()));
                return Ok(());
            }
            Value::Array(changes) => changes,
            _ if list.is_lenient => return Ok(()),
            _ => return self.merge_field(stored, name, change, list.path),
        };
        let entries = stored
            .get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let key = match list.is_lenient {
            true => list.keys.first().copied(),
            false => list.find_key(&[&entries, changes]),
        };
        let Some(key) = key else {
            let deletes = changes
                .iter()
                .any(|change| change.get(DELETE_MARKER).is_some());
            if deletes {
                return Err(PatchError::NoKey(list.path.to_owned()));
            }
            stored.insert(name.to_owned(), change.clone());
            return Ok(());
        };
        let mut slots = EntrySlots::new(key, entries);
        for change in changes {
            self.merge_entry(&mut slots, change, list.path)?;
        }
        if let Some(entries) = slots.into_entries() {
            stored.insert(name.to_owned(), Value::Array(entries));
        }
        Ok(())
    }

    /// Merges one entry of a patch into its entry of the list, or adds it. What has no key is
    /// ignored.
    fn merge_entry(
        &self,
        slots: &mut EntrySlots,
        change: &Value,
        path: &str,
    ) -> Result<(), PatchError> {
        let key = slots.key;
        let (Some(values), Value::Object(fields)) = (key.values(change), change) else {
            return Ok(());
        };
        if fields.get(DELETE_MARKER) == Some(&Value::Bool(true)) {
            slots.delete(&values);
            return Ok(());
        }
        let slot = slots.find_or_add(&values);
        let mut entry = match slot.entry.take() {
            Some(Value::Object(entry)) => entry,
            _ => key
                .0
                .iter()
                .zip(values)
                .map(|(field, value)| {
                    let given = fields.get(field.name).filter(|value| !value.is_null());
                    let value = given.cloned().unwrap_or(Value::String(value));
                    (field.name.to_owned(), value)
                })
                .collect(),
        };
        let is_key = |name: &str| key.0.iter().any(|field| field.name == name);
        let changed = fields
            .iter()
            .filter(|(name, _)| *name != DELETE_MARKER && !is_key(name));
        let changed = changed.map(|(name, value)| (name.clone(), value.clone()));
        self.merge_object(&mut entry, &changed.collect(), &format!("{path}[]"))?;
        slot.entry = Some(Value::Object(entry));
        Ok(())
    }
}

/// The entries of a list while a patch is merged into it.
struct EntrySlots {
    key: EntryKey,
    slots: Vec<EntrySlot>,
}

/// A position in the list, empty once its entry is deleted.
///
/// An entry that the same patch names again takes its old position. The patch therefore has the
/// same outcome if it is sent twice.
struct EntrySlot {
    values: Option<Vec<String>>,
    entry: Option<Value>,
}

impl EntrySlots {
    fn new(key: EntryKey, entries: Vec<Value>) -> Self {
        let slots = entries.into_iter().map(|entry| EntrySlot {
            values: key.values(&entry),
            entry: Some(entry),
        });
        Self {
            key,
            slots: slots.collect(),
        }
    }

    fn delete(&mut self, values: &[String]) {
        for slot in &mut self.slots {
            if slot.values.as_deref() == Some(values) {
                slot.entry = None;
            }
        }
    }

    fn find_or_add(&mut self, values: &[String]) -> &mut EntrySlot {
        let found = self
            .slots
            .iter()
            .position(|slot| slot.values.as_deref() == Some(values));
        let at = found.unwrap_or(self.slots.len());
        if found.is_none() {
            self.slots.push(EntrySlot {
                values: Some(values.to_vec()),
                entry: None,
            });
        }
        // The position was found or has just been added.
        #[expect(clippy::indexing_slicing, reason = "the slot exists")]
        &mut self.slots[at]
    }

    /// Returns the entries, or `None` if there is neither an entry nor a change.
    fn into_entries(self) -> Option<Vec<Value>> {
        if self.slots.is_empty() {
            return None;
        }
        Some(
            self.slots
                .into_iter()
                .filter_map(|slot| slot.entry)
                .collect(),
        )
    }
}

/// Returns the path of a field, such as `a.b`.
fn join(at: &str, name: &str) -> String {
    match at {
        "" => name.to_owned(),
        at => format!("{at}.{name}"),
    }
}

/// Returns the merge patch (RFC 7396) that turns one value into another: only the fields that
/// differ, and `null` for those that are gone. Returns `None` if nothing differs.
///
/// A field that is `null` in the new value is written as `null`, which removes it. An API that
/// clears a field by `null` wants exactly that.
pub fn merge_patch_between(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return Some(new.clone());
    };
    let mut patch = JsonObject::new();
    for (name, value) in after {
        let change = match before.get(name) {
            Some(old) => merge_patch_between(old, value),
            None => Some(value.clone()),
        };
        patch.extend(change.map(|change| (name.clone(), change)));
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    patch.extend(gone.map(|name| (name.clone(), Value::Null)));
    Some(Value::Object(patch))
}

//! Declarations of lists whose entries are told apart by a key.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// A field of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyField {
    /// Name of the field.
    pub name: &'static str,
    /// Value of an entry that lacks the field. Without one, such an entry has no key.
    pub default: Option<&'static str>,
}

/// The fields that together identify an entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryKey(pub &'static [KeyField]);

/// A list whose entries are told apart by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedList {
    /// Path of the list, such as `config.targets` or `config.targets[].targets`.
    pub path: &'static str,
    /// Possible keys. The first one applies that all entries have, each with another value.
    pub keys: &'static [EntryKey],
    /// True if `null` empties the list, and what has no key is ignored, as Enkrypt AI does.
    /// Otherwise `null` removes the list, and what has no key replaces the list as a whole.
    pub is_lenient: bool,
}

/// The keyed lists of a document. All other lists are replaced as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListRules(pub &'static [KeyedList]);

impl EntryKey {
    /// Returns the values of the key, or `None` if an entry lacks one.
    pub(crate) fn values(self, entry: &Value) -> Option<Vec<String>> {
        let values = self.0.iter().map(|field| {
            match entry.get(field.name).filter(|value| !value.is_null()) {
                Some(Value::String(text)) => Some(text.clone()),
                Some(Value::Number(number)) => Some(number.to_string()),
                Some(_) => None,
                None => entry
                    .is_object()
                    .then(|| field.default.map(str::to_owned))
                    .flatten(),
            }
        });
        values.collect()
    }

    /// Returns the key of an entry as it is shown, such as `name=primary`.
    pub(crate) fn describe(self, entry: &Value) -> Option<String> {
        let values = self.values(entry)?;
        let parts = self.0.iter().zip(values);
        let parts: Vec<_> = parts
            .map(|(field, value)| format!("{}={value}", field.name))
            .collect();
        Some(parts.join(","))
    }

    /// Returns true if all entries have the key, each with other values.
    pub(crate) fn identifies(self, entries: &[Value]) -> bool {
        let mut seen = HashSet::new();
        entries
            .iter()
            .all(|entry| self.values(entry).is_some_and(|values| seen.insert(values)))
    }
}

impl KeyedList {
    /// Declares a list by its path and its possible keys.
    pub const fn new(path: &'static str, keys: &'static [EntryKey]) -> Self {
        Self {
            path,
            keys,
            is_lenient: false,
        }
    }

    /// Returns the key that applies to all of these lists.
    pub(crate) fn find_key(&self, lists: &[&[Value]]) -> Option<EntryKey> {
        let mut keys = self.keys.iter().copied();
        keys.find(|key| lists.iter().all(|entries| key.identifies(entries)))
    }
}

/// An entry that one or both of two lists have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedEntry {
    /// Key of the entry as it is shown, such as `name=primary`.
    pub key: String,
    /// Position in the old list.
    pub old: Option<usize>,
    /// Position in the new list.
    pub new: Option<usize>,
}

impl ListRules {
    /// Matches the entries of two lists by their key: those of the new list in its order, then those
    /// that are gone.
    ///
    /// Returns `None` if no key tells the entries apart, or if entries that both lists have come in
    /// another order. The order of targets matters, so that this is a change of the list.
    pub fn match_entries(
        self,
        path: &str,
        before: &[Value],
        after: &[Value],
    ) -> Option<Vec<MatchedEntry>> {
        let matched = self.match_by_key(path, before, after)?;
        let old = matched.iter().filter(|entry| entry.new.is_some());
        old.filter_map(|entry| entry.old)
            .is_sorted()
            .then_some(matched)
    }

    /// Matches the entries of two lists by their key, whatever their order.
    ///
    /// Returns `None` if no key tells the entries apart.
    pub fn match_by_key(
        self,
        path: &str,
        before: &[Value],
        after: &[Value],
    ) -> Option<Vec<MatchedEntry>> {
        let key = self.find(path)?.find_key(&[before, after])?;
        let positions: HashMap<_, _> = before
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| Some((key.values(entry)?, index)))
            .collect();
        let mut matched = Vec::with_capacity(after.len());
        let mut kept = HashSet::new();
        for (new, entry) in after.iter().enumerate() {
            let old = positions.get(&key.values(entry)?).copied();
            kept.extend(old);
            matched.push(MatchedEntry {
                key: key.describe(entry)?,
                old,
                new: Some(new),
            });
        }
        for (old, entry) in before.iter().enumerate() {
            if !kept.contains(&old) {
                matched.push(MatchedEntry {
                    key: key.describe(entry)?,
                    old: Some(old),
                    new: None,
                });
            }
        }
        Some(matched)
    }

    /// Returns the rule of the list at a path, whose entries are written `[]`.
    pub(crate) fn find(self, path: &str) -> Option<&'static KeyedList> {
        self.0.iter().find(|list| list.path == path)
    }
}

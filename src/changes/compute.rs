//! Computes the smallest correct request from the current state and a patch. Performs no I/O.

use portkey_merge_patch::{DELETE_MARKER, Diff, Patch};
use portkey_operation::{
    CompiledOperation, FieldUpdate, InputError, JsonMap, UpdateRules, did_you_mean,
};
use serde_json::Value;

use super::{
    expect,
    hidden::HiddenValues,
    kept_secrets::{self, KeptSecrets},
    list_forms::{adopt_list_forms, adopt_stored_lists},
    patch_argument::{PATCH_ARGUMENT, PatchRequest},
    prune::prune,
};
use crate::{
    pipeline::{
        ResourceState,
        state_fields::{is_same, resource, to_arguments},
    },
    security::secrets::BLANK,
};

/// Maximum number of field names that an error lists.
const MAX_LISTED_FIELDS: usize = 40;

/// A change in the form of a call's arguments.
#[derive(Clone, Debug, Default)]
pub struct ComputedChange {
    /// Arguments that locate the resource.
    pub location: JsonMap,
    /// Arguments that change it; empty if the patch changes nothing. They may hold secrets.
    pub changes: JsonMap,
    /// Differences between the state and the patched state, with hidden values blanked.
    pub diff: Diff,
    /// Hidden texts that the request sends again.
    pub(super) kept_texts: Vec<String>,
    /// State after the patch in the form of the arguments. It may hold secrets.
    pub wanted: JsonMap,
}

/// Computes the change of a patch. `mask` masks an answer of the read as callers see it.
pub(super) fn compute(
    published: &CompiledOperation,
    rules: &UpdateRules,
    state: &ResourceState,
    request: PatchRequest,
    mask: &dyn Fn(&mut Value),
) -> Result<ComputedChange, InputError> {
    let no_randomness = || InputError::new(PATCH_ARGUMENT, "cannot be applied: no randomness");
    let clear = Value::Object(to_arguments(rules, &state.clear));
    let shown = Value::Object(to_arguments(rules, &state.shown));
    let (before, mut hidden) = HiddenValues::hide(&clear, &shown).ok_or_else(no_randomness)?;
    if !hidden.is_empty() {
        let mut masked = state.clear.clone();
        mask(&mut masked);
        let masked = Value::Object(to_arguments(rules, &masked));
        hidden.record_masking(&before, &clear, &masked);
    }
    if let Some(expect) = &request.expect {
        let answer = HiddenValues::hide(resource(&state.clear), resource(&state.shown));
        let (answer, hidden_in_answer) = answer.ok_or_else(no_randomness)?;
        // A path that the fields lack is looked up in the answer.
        let answer = match hidden_in_answer.is_in(&answer) {
            true => resource(&state.shown).clone(),
            false => answer,
        };
        expect::check(expect, rules, &before, &answer, &hidden)?;
    }
    kept_secrets::check_masked_sources(&request.patch, &before)?;
    let patch = adopt_stored_lists(published, &before, request.patch);
    let mut after = patch
        .apply(&before, rules.list_rules())
        .map_err(|error| InputError::new(PATCH_ARGUMENT, error))?;
    adopt_list_forms(published, &before, &mut after);
    let builder = ChangeBuilder {
        published,
        rules,
        hidden: &hidden,
        names: patch.field_names(),
        rejects_unknown: !matches!(patch, Patch::Differences(_)),
    };
    let (changes, tokens) = builder.build(&before, &after)?;
    let mut diff = Diff::between(&before, &after, rules.list_rules());
    diff.changes.retain(|change| {
        change
            .path
            .first_field()
            .is_some_and(|name| tokens.contains_key(name))
            && !is_same(change.old.as_ref(), change.new.as_ref())
    });
    for change in &mut diff.changes {
        for value in [&mut change.old, &mut change.new].into_iter().flatten() {
            blank_hidden(&hidden, value);
        }
    }
    let kept = KeptSecrets {
        published,
        rules,
        hidden: &hidden,
    };
    kept.check_carried_values(state, &tokens, &diff, mask)?;
    kept.check_redirect(state, &before, &tokens)?;
    let mut wanted = after;
    hidden.restore(&mut wanted);
    kept.check_masked_values(&request.location, &changes)?;
    Ok(ComputedChange {
        kept_texts: hidden.texts_in(&Value::Object(tokens)),
        location: request.location,
        changes,
        diff,
        wanted: match wanted {
            Value::Object(wanted) => wanted,
            _ => JsonMap::new(),
        },
    })
}

struct ChangeBuilder<'a> {
    published: &'a CompiledOperation,
    rules: &'a UpdateRules,
    hidden: &'a HiddenValues,
    /// Top-level fields that the patch names.
    names: Vec<String>,
    /// False for an undo, which names only what a call has sent before.
    rejects_unknown: bool,
}

impl ChangeBuilder<'_> {
    fn properties(&self) -> Option<&JsonMap> {
        self.published.full_schema().get("properties")?.as_object()
    }

    fn schema(&self, name: &str) -> Option<&Value> {
        self.properties()?.get(name)
    }

    /// Returns the arguments that change the resource, once with hidden values and once with their
    /// tokens.
    fn build(&self, before: &Value, after: &Value) -> Result<(JsonMap, JsonMap), InputError> {
        let empty = JsonMap::new();
        let old = before.as_object().unwrap_or(&empty);
        let new = after.as_object().unwrap_or(&empty);
        let mut changes = JsonMap::new();
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        for name in new.keys().chain(gone) {
            let before = old.get(name);
            let after = new.get(name);
            if is_same(before, after) {
                continue;
            }
            self.check_field(name, old)?;
            if let Some(value) = self.field_change(name, before, after)? {
                changes.insert(name.clone(), value);
            }
        }
        // A name that is no field of the state may still be that of a location.
        for name in &self.names {
            self.check_field(name, old)?;
        }
        if let Some(switch) = self.rules.switch()
            && new.get(switch.flag).is_some_and(|flag| *flag == true)
            && changes.get(switch.list).is_some_and(Value::is_null)
        {
            // The flag removes the list, which no update clears.
            changes.shift_remove(switch.list);
        }
        if changes.is_empty() {
            return Ok((JsonMap::new(), JsonMap::new()));
        }
        self.add_required(&mut changes, old);
        if let Some(flag) = self.rules.partial_flag() {
            let is_versioned = |name: &String| !flag.unversioned.contains(&name.as_str());
            if changes.keys().any(is_versioned) {
                changes.insert(flag.argument.to_owned(), true.into());
            }
        }
        let tokens = changes.clone();
        let mut clear = Value::Object(changes);
        self.hidden.restore(&mut clear);
        match clear {
            Value::Object(changes) => Ok((changes, tokens)),
            _ => Ok((JsonMap::new(), tokens)),
        }
    }

    /// Adds fields that every update needs, with their current values.
    fn add_required(&self, changes: &mut JsonMap, old: &JsonMap) {
        let required = self.published.full_schema().get("required");
        let required = required.and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !self.published.operation().is_change(name) || changes.contains_key(name) {
                continue;
            }
            let merges_entries =
                matches!(self.rules.field_update(name), FieldUpdate::MergeEntries(_));
            // No entry changes.
            let current = match merges_entries {
                true => Some(Value::Array(Vec::new())),
                false => old.get(name).filter(|value| !value.is_null()).cloned(),
            };
            if let (Some(current), Some(schema)) = (current, self.schema(name)) {
                let current = prune(current, old.get(name), schema);
                changes.insert(name.to_owned(), current);
            }
        }
    }

    /// Rejects a change of a field that the update does not take although the state has it.
    fn check_field(&self, name: &str, old: &JsonMap) -> Result<(), InputError> {
        let operation = self.published.operation();
        if !operation.is_change(name) {
            let message = "says which resource is meant; give it beside `patch`";
            return Err(InputError::new(format!("{PATCH_ARGUMENT}.{name}"), message));
        }
        if self.schema(name).is_some() {
            return Ok(());
        }
        let looks_like_path = name.contains(['.', '[', '/']);
        let meant;
        let reason = if self.rules.create_only().contains(&name) {
            "is set when it is created and cannot be changed"
        } else if looks_like_path {
            "is a path, not a field; nest objects, or give an operation with a JSON Pointer as its \
             `path`"
        } else if old.contains_key(name) {
            "is read-only"
        } else if self.published.resolve_argument_alias(name).is_some() || !self.rejects_unknown {
            // Validation gives an argument its own name.
            return Ok(());
        } else {
            meant = self.explain_unknown(name);
            &meant
        };
        let fields: Vec<_> = self
            .field_names()
            .map(|name| format!("`{name}`"))
            .take(MAX_LISTED_FIELDS)
            .collect();
        let message = format!(
            "{reason}; `{}` takes {}",
            operation.name(),
            fields.join(", ")
        );
        Err(InputError::new(format!("{PATCH_ARGUMENT}.{name}"), message))
    }

    /// Iterates over the fields that the update changes.
    fn field_names(&self) -> impl Iterator<Item = &str> {
        let operation = self.published.operation();
        let names = self.properties().into_iter().flatten();
        let names = names.map(|(name, _)| name.as_str());
        names.filter(|name| operation.is_change(name))
    }

    /// Explains that neither the update nor the state has a field. One that is new in Portkey can be
    /// given without a patch; here a misspelling is more likely.
    fn explain_unknown(&self, name: &str) -> String {
        let mut declared = self.rules.fields().iter();
        match declared.find(|field| field.read_name() == name) {
            Some(field) => format!("is written as `{}`", field.name()),
            None => format!(
                "is no field of the resource{}",
                did_you_mean(name, self.field_names())
            ),
        }
    }

    /// Returns the value of one argument, or `None` if the update needs none.
    fn field_change(
        &self,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> Result<Option<Value>, InputError> {
        let Some(after) = after.filter(|value| !value.is_null()) else {
            return Ok(Some(Value::Null));
        };
        let no_schema = Value::Null;
        let schema = self.schema(name).unwrap_or(&no_schema);
        match self.rules.field_update(name) {
            FieldUpdate::Replace | FieldUpdate::WriteOnly => {
                Ok(Some(prune(after.clone(), before, schema)))
            }
            FieldUpdate::NotInPatch(reason) => {
                let message = format!("is no part of a patch: {reason}");
                Err(InputError::new(format!("{PATCH_ARGUMENT}.{name}"), message))
            }
            FieldUpdate::Merge => {
                let fields = before.and_then(Value::as_object).zip(after.as_object());
                let sent = match fields {
                    Some((before, after)) => changed_fields(before, after),
                    None => after.clone(),
                };
                Ok(Some(prune(sent, before, schema)))
            }
            FieldUpdate::MergeEntries(removal) => {
                let entries = self.changed_entries(name, before, after, schema, removal)?;
                Ok(Some(Value::Array(entries)))
            }
        }
    }

    /// Returns the entries of a list that differ, each with its key, the fields that every entry
    /// needs, and the fields that change.
    fn changed_entries(
        &self,
        name: &str,
        before: Option<&Value>,
        after: &Value,
        schema: &Value,
        removal: &str,
    ) -> Result<Vec<Value>, InputError> {
        let at = format!("{PATCH_ARGUMENT}.{name}");
        let key = self.rules.entry_key(name);
        let key_of = |entry: &Value| -> Option<Vec<Value>> {
            key.iter().map(|field| entry.get(*field).cloned()).collect()
        };
        let empty = Vec::new();
        let old = before.and_then(Value::as_array).unwrap_or(&empty);
        let Some(new) = after.as_array() else {
            return Err(InputError::new(at, "takes a list of entries"));
        };
        let item_schema = schema.get("items").unwrap_or(&Value::Null);
        let required = item_schema.get("required").and_then(Value::as_array);
        let is_required =
            |name: &str| required.is_some_and(|names| names.iter().any(|one| one == name));
        let mut changed = Vec::new();
        for entry in new {
            let (Some(values), Some(fields)) = (key_of(entry), entry.as_object()) else {
                let message = format!("each entry names its `{}`", key.join("` and `"));
                return Err(InputError::new(at, message));
            };
            let known = old.iter().find(|old| key_of(old).as_ref() == Some(&values));
            if known.is_some_and(|known| is_same(Some(known), Some(entry))) {
                continue;
            }
            let differs = |name: &str, value: &Value| {
                !known.is_some_and(|known| is_same(known.get(name), Some(value)))
            };
            let mut sent: JsonMap = fields
                .iter()
                .filter(|(name, value)| {
                    key.contains(&name.as_str()) || is_required(name) || differs(name, value)
                })
                .filter(|(name, _)| *name != DELETE_MARKER)
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let gone = known.and_then(Value::as_object).into_iter().flatten();
            let gone = gone.filter(|(name, value)| !fields.contains_key(*name) && !value.is_null());
            sent.extend(gone.map(|(name, _)| (name.clone(), Value::Null)));
            changed.push(prune(Value::Object(sent), known, item_schema));
        }
        let is_gone = |old: &&Value| {
            let values = key_of(old);
            !new.iter().any(|new| key_of(new) == values)
        };
        if let Some(removed) = old.iter().find(is_gone) {
            let shown = key_of(removed).unwrap_or_default();
            let shown: Vec<_> = shown.iter().map(Value::to_string).collect();
            let message = format!(
                "the entry {} cannot be removed by this update; {removal}",
                shown.join(", ")
            );
            return Err(InputError::new(at, message));
        }
        Ok(changed)
    }
}

/// Returns the fields of an object that differ, and `null` for those that are gone. The endpoint keeps the other fields
/// and replaces these, so that each is whole.
fn changed_fields(before: &JsonMap, after: &JsonMap) -> Value {
    let mut changed: JsonMap = after
        .iter()
        .filter(|(name, value)| !is_same(before.get(*name), Some(value)))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let gone = before
        .iter()
        .filter(|(name, value)| !after.contains_key(*name) && !value.is_null());
    changed.extend(gone.map(|(name, _)| (name.clone(), Value::Null)));
    Value::Object(changed)
}

/// Replaces tokens by stars.
fn blank_hidden(hidden: &HiddenValues, value: &mut Value) {
    let mut tokens = value.clone();
    if hidden.is_in(&tokens) {
        replace_tokens(hidden, &mut tokens);
        *value = tokens;
    }
}

fn replace_tokens(hidden: &HiddenValues, value: &mut Value) {
    match value {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace_tokens(hidden, item)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| replace_tokens(hidden, value)),
        text if hidden.is_in(text) => *text = BLANK.into(),
        _ => {}
    }
}

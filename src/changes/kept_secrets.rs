//! Checks of the secrets that a request sends again because the endpoint replaces what is around them.

use portkey_merge_patch::{Diff, Patch};
use portkey_operation::{CompiledOperation, InputError, JsonMap, UpdateRules, is_destination};
use serde_json::Value;

use super::{hidden::HiddenValues, patch_argument::PATCH_ARGUMENT};
use crate::{
    pipeline::{
        ResourceState,
        redirected_secrets::RedirectedSecret,
        state_fields::{to_answer, to_arguments},
    },
    security::secrets::{BLANK, MASK, find_masked_text, is_masked, redact_arguments},
};

/// The parts that the checks need.
pub(super) struct KeptSecrets<'a> {
    pub(super) published: &'a CompiledOperation,
    pub(super) rules: &'a UpdateRules,
    pub(super) hidden: &'a HiddenValues,
}

impl KeptSecrets<'_> {
    /// Rejects a patch that would put a hidden value where it could be read, or have it sent to
    /// another place than before.
    pub(super) fn check_carried_values(
        &self,
        state: &ResourceState,
        tokens: &JsonMap,
        diff: &Diff,
        mask: &dyn Fn(&mut Value),
    ) -> Result<(), InputError> {
        let tokens = Value::Object(tokens.clone());
        if !self.hidden.is_in(&tokens) {
            return Ok(());
        }
        let mut clear = tokens.clone();
        self.hidden.restore(&mut clear);
        let fields = clear.as_object().cloned().unwrap_or_default();
        let mut answer = to_answer(self.rules, &state.clear, &fields);
        mask(&mut answer);
        let masked = Value::Object(to_arguments(self.rules, &answer));
        let moved = self.hidden.find_moved(&tokens);
        let visible = || self.hidden.find_visible(&tokens, &clear, &masked, "");
        if let Some(path) = moved.or_else(visible) {
            let message = format!(
                "would put a value that is hidden from callers where it can be read (`{path}`). Nothing was sent"
            );
            return Err(InputError::new(PATCH_ARGUMENT, message));
        }
        let fields = tokens.as_object().into_iter().flatten();
        let carrying: Vec<_> = fields
            .filter(|(_, value)| self.hidden.is_in(value))
            .map(|(name, _)| name.as_str())
            .collect();
        let redirects = diff.changes.iter().find(|change| {
            let is_carried = change
                .path
                .first_field()
                .is_some_and(|name| carrying.contains(&name));
            let names_destination = change.path.last_field().is_some_and(is_destination)
                || change.new.as_ref().is_some_and(contains_destination);
            is_carried && names_destination
        });
        if let Some(change) = redirects {
            let kept = self.hidden.find(&tokens).unwrap_or_default();
            let message = format!(
                "changes where requests go (`{}`), while the update has to send hidden values again that \
                 are kept (`{kept}`). Give those values in the patch, too, or references to them. Nothing \
                 was sent",
                change.path
            );
            return Err(InputError::new(PATCH_ARGUMENT, message));
        }
        Ok(())
    }

    /// Rejects a patch that changes an address, while a secret in another field is kept. `tokens` are
    /// the changes, with tokens in the place of values that are sent again; `before` has the same
    /// tokens.
    pub(super) fn check_redirect(
        &self,
        state: &ResourceState,
        before: &Value,
        tokens: &JsonMap,
    ) -> Result<(), InputError> {
        let operation = self.published.operation();
        let Some(address) = operation.find_new_address(tokens, before.as_object()) else {
            return Ok(());
        };
        let stored = to_arguments(self.rules, &state.shown);
        let is_kept = |value: &Value| value.is_string() && self.hidden.is_in(value);
        match RedirectedSecret::find(self.published, address, &stored, tokens, &is_kept) {
            Some(found) => {
                let at = format!("{PATCH_ARGUMENT}.{}", found.address);
                Err(InputError::new(at, found.explain()))
            }
            None => Ok(()),
        }
    }

    /// Rejects a secret that the upstream has masked, because it would be stored as it is.
    pub(super) fn check_masked_values(
        &self,
        location: &JsonMap,
        changes: &JsonMap,
    ) -> Result<(), InputError> {
        let mut args = location.clone();
        args.extend(changes.clone());
        let redacted = Value::Object(redact_arguments(self.published, args));
        let Some(path) = find_masked(&Value::Object(changes.clone()), &redacted, "") else {
            return Ok(());
        };
        let message = format!(
            "`{path}` is masked, and would overwrite the real value: the update sends the whole of what is \
             around it. Give the real value or a reference to it in the patch. Nothing was sent"
        );
        Err(InputError::new(PATCH_ARGUMENT, message))
    }
}

/// Rejects operations that copy, move or test a value that the upstream has masked. Its stars are not
/// the value: they would be stored elsewhere as if they were, or equal those of another value.
pub(super) fn check_masked_sources(patch: &Patch, before: &Value) -> Result<(), InputError> {
    for pointer in patch.sources() {
        let Some(path) = before.pointer(&pointer).and_then(find_masked_text) else {
            continue;
        };
        let message = format!(
            "`{pointer}{path}` is masked, so that no operation can copy, move or test it. Give the real value or a \
             reference to it. Nothing was sent"
        );
        return Err(InputError::new(PATCH_ARGUMENT, message));
    }
    Ok(())
}

/// Finds a text that is masked where the arguments have a secret.
fn find_masked(value: &Value, redacted: &Value, path: &str) -> Option<String> {
    match (value, redacted) {
        (Value::String(text), Value::String(shown)) => {
            let is_secret = shown == BLANK || shown.contains(MASK) || text.contains(MASK);
            (is_secret && is_masked(text)).then(|| path.to_owned())
        }
        (Value::Array(items), Value::Array(shown)) => {
            let mut items = items.iter().zip(shown).enumerate();
            items.find_map(|(index, (item, shown))| {
                find_masked(item, shown, &format!("{path}[{index}]"))
            })
        }
        (Value::Object(fields), Value::Object(shown)) => fields.iter().find_map(|(name, value)| {
            let path = portkey_operation::field_path(path, name);
            find_masked(value, shown.get(name)?, &path)
        }),
        // Everything below a secret is secret.
        (Value::Object(fields), Value::String(_)) => fields.iter().find_map(|(name, value)| {
            let path = portkey_operation::field_path(path, name);
            find_masked(value, redacted, &path)
        }),
        _ => None,
    }
}

fn contains_destination(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| is_destination(name) || contains_destination(value)),
        Value::Array(items) => items.iter().any(contains_destination),
        _ => false,
    }
}

//! The guard of a patch: values that must still hold, or the version that was read before.

use portkey_merge_patch::DocumentPath;
use portkey_operation::{InputError, UpdateRules};
use serde_json::Value;

use super::{hidden::HiddenValues, patch_argument::EXPECT_ARGUMENT};
use crate::{pipeline::state_fields::is_same, security::secrets::find_masked_text};

/// Maximum length of a value that an error repeats, in characters.
const MAX_VALUE_CHARS: usize = 200;
/// Maximum number of field names that an error lists.
const MAX_LISTED_FIELDS: usize = 40;

/// Checks the guard against the current state. `fields` are the fields in the form of the
/// arguments, `resource` has those of the answer; hidden values are tokens in both.
///
/// # Errors
/// Returns an error that names every field with another value.
pub(super) fn check(
    expect: &Value,
    rules: &UpdateRules,
    fields: &Value,
    resource: &Value,
    hidden: &HiddenValues,
) -> Result<(), InputError> {
    let single;
    let expected = match expect {
        Value::Object(expected) => expected,
        version => {
            let Some(field) = rules.version_field() else {
                let message = "a version is expected, and this resource has none; name fields and their \
                               values instead";
                return Err(InputError::new(EXPECT_ARGUMENT, message));
            };
            single = [(field.to_owned(), version.clone())].into_iter().collect();
            &single
        }
    };
    let mut conflicts = Vec::new();
    let mut unknown = Vec::new();
    for (name, value) in expected {
        let path = DocumentPath::parse(name);
        let found = path.find(fields).or_else(|| path.find(resource));
        if found.is_some_and(|found| hidden.is_in(found) || find_masked_text(found).is_some()) {
            let message = "is hidden from callers and cannot be compared; expect another field, or the \
                           version";
            return Err(InputError::new(
                format!("{EXPECT_ARGUMENT}.{name}"),
                message,
            ));
        }
        match found {
            Some(found) if !is_same(Some(value), Some(found)) => {
                let found = shorten(found);
                conflicts.push(format!("`{name}` is {found} now, not {}", shorten(value)));
            }
            None if !value.is_null() => unknown.push(format!("`{name}`")),
            Some(_) | None => {}
        }
    }
    if !unknown.is_empty() {
        let fields = fields.as_object().into_iter().flatten();
        let known: Vec<_> = fields
            .take(MAX_LISTED_FIELDS)
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let message = format!(
            "the resource has no {}: the path is misspelt, or what it led to was removed. Nothing was sent. Its \
             fields are {}",
            unknown.join(", "),
            known.join(", ")
        );
        return Err(InputError::new(EXPECT_ARGUMENT, message));
    }
    match conflicts.is_empty() {
        true => Ok(()),
        false => {
            let message = format!(
                "the resource has changed since it was read, and nothing was sent: {}. Read it again and decide anew",
                conflicts.join("; ")
            );
            Err(InputError::new(EXPECT_ARGUMENT, message))
        }
    }
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

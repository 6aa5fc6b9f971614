//! Validation and encoding of values that become one segment of a path.
//!
//! URL parsers resolve `..` and even `%2e%2e`, and some servers decode more than once. An
//! identifier that could leave its segment is therefore rejected, not merely encoded. Otherwise a
//! workspace id of `..` could turn the removal of a member into the removal of a user.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The maximum length of an identifier in characters: Portkey accepts slugs and names up to it.
const MAX_IDENTIFIER_CHARS: usize = 255;

const SEGMENT_ENCODE_SET: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Appends one segment to a path.
///
/// # Errors
/// Returns a message if the value is empty, too long, or could address another path.
pub(super) fn push(path: &mut String, value: &str) -> Result<(), String> {
    if value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && (1..=MAX_IDENTIFIER_CHARS).contains(&value.len())
    {
        path.push_str(value);
        return Ok(());
    }
    validate(value)?;
    path.extend(utf8_percent_encode(value, SEGMENT_ENCODE_SET));
    Ok(())
}

fn validate(value: &str) -> Result<(), String> {
    if value.trim().is_empty() {
        return Err("names what to act on and is empty; give its id or slug".to_owned());
    }
    let count = value.chars().count();
    if count > MAX_IDENTIFIER_CHARS {
        return Err(format!(
            "is no identifier: {count} characters, at most {MAX_IDENTIFIER_CHARS} are allowed"
        ));
    }
    // The value is checked in every stage of decoding, however often it was encoded.
    let mut decoded_value = value.to_owned();
    loop {
        if let Some(odd) = decoded_value
            .chars()
            .find(|c| matches!(c, '/' | '\\') || c.is_control())
        {
            return Err(format!("is no identifier: {odd:?} may not stand in one"));
        }
        if matches!(decoded_value.trim(), "." | "..") {
            return Err("is no identifier: `.` and `..` would address something else".to_owned());
        }
        let decoded = percent_decode_str(&decoded_value)
            .decode_utf8_lossy()
            .into_owned();
        if decoded == decoded_value {
            return Ok(());
        }
        decoded_value = decoded;
    }
}

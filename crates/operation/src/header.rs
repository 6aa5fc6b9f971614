//! Validation of values that travel in a request header.
//!
//! Servers trim the spaces around a value and disagree on bytes beyond ASCII, so a name with either
//! would be looked up as another one. A line break would let the caller add a header.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Adds one header.
///
/// # Errors
/// Returns a message if the value is empty, not printable ASCII, or begins or ends with a space.
pub(super) fn insert(
    headers: &mut HeaderMap,
    name: &'static str,
    value: &str,
) -> Result<(), String> {
    if value.is_empty() {
        return Err("is empty; give a name, or leave it out".to_owned());
    }
    if let Some(odd) = value.chars().find(|c| !matches!(c, ' '..='~')) {
        return Err(format!(
            "travels in a header, which takes printable ASCII only; got {odd:?}"
        ));
    }
    if value.starts_with(' ') || value.ends_with(' ') {
        return Err("travels in a header, which cannot begin or end with a space".to_owned());
    }
    let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
    headers.insert(
        name,
        HeaderValue::try_from(value).map_err(|error| error.to_string())?,
    );
    Ok(())
}

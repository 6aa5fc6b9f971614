//! Escapes untrusted text for display to a human who is about to decide.

use std::fmt::Write;

use crate::security::sanitize::is_visible;

/// Escapes everything with which a text could imitate a part of the approval request.
///
/// This covers line breaks, invisible characters, changes of the writing direction, and the
/// backtick that would end its quotation.
pub fn escape_untrusted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '`' => shown.push('\''),
            // Writing to a string cannot fail.
            c if c.is_control() || !is_visible(c) => _ = write!(shown, "\\u{{{:x}}}", u32::from(c)),
            c => shown.push(c),
        }
    }
    shown
}

//! Text of strangers as it may stand before a human who is about to decide.

use std::fmt::Write;

use crate::security::sanitize::is_seen;

/// The text without anything that could pass for a part of the question: no line of its own, nothing
/// invisible, nothing that turns the direction of writing, no end of the quotation it stands in.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '`' => shown.push('\''),
            // Writing to a string cannot fail.
            c if c.is_control() || !is_seen(c) => _ = write!(shown, "\\u{{{:x}}}", u32::from(c)),
            c => shown.push(c),
        }
    }
    shown
}

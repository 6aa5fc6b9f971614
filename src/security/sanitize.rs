//! Sanitizes untrusted text: removes characters that a model reads and a human cannot see.
//!
//! Removed from every text and field name of a response: control characters, marks that change the
//! direction of text, tags, and characters without a shape. Characters that change how the text
//! around them looks are kept. These are joiners within emoji and within scripts that join, and
//! variation selectors, one for each character that takes one.

use std::{borrow::Cow, fmt::Write};

use serde_json::Value;
use unicode_general_category::{GeneralCategory, get_general_category};

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';
const BLACK_FLAG: char = '\u{1f3f4}';
const CANCEL_TAG: char = '\u{e007f}';

/// Flags that Unicode recommends to spell with tags: England, Scotland, Wales.
const TAG_FLAGS: [&str; 3] = ["gbeng", "gbsct", "gbwls"];

/// Returns at most the first `max` characters of a text.
pub fn first_chars(text: &str, max: usize) -> &str {
    // The usual case, decided without reading the text.
    if text.len() <= max {
        return text;
    }
    let end = text
        .char_indices()
        .nth(max)
        .map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or(text)
}

/// Sanitizes every text and field name in a response. Clean texts are left untouched.
pub fn sanitize_value(answer: &mut Value) {
    match answer {
        Value::String(text) => {
            if let Some(cleaned) = sanitize_text(text) {
                *text = cleaned;
            }
        }
        Value::Array(list) => list.iter_mut().for_each(sanitize_value),
        Value::Object(map) => {
            if map.keys().any(|name| !is_clean(name)) {
                let fields = std::mem::take(map).into_iter();
                *map = fields
                    .map(|(name, value)| (sanitize_text(&name).unwrap_or(name), value))
                    .collect();
            }
            map.values_mut().for_each(sanitize_value);
        }
        _ => {}
    }
}

/// Returns a JSON document as text if all of it is visible ASCII without escapes.
///
/// Every text in such a document is clean and appears verbatim. Most responses qualify, so they
/// need no walk over each text.
pub fn as_clean_ascii(json: &[u8]) -> Option<&str> {
    // Without a branch, as in `is_clean`.
    let other =
        |byte: u8| (byte < b' ' && byte != b'\n' && byte != b'\t') || byte >= 0x7f || byte == b'\\';
    let is_clean_ascii = !json.iter().fold(false, |found, byte| found | other(*byte));
    is_clean_ascii.then(|| str::from_utf8(json).ok()).flatten()
}

/// Removes invisible characters from a text. Returns `None` if the text is clean.
pub fn sanitize_text(text: &str) -> Option<String> {
    if is_clean(text) {
        return None;
    }
    let clean = replace_invisible(text, |clean, c| {
        // Line separators that look like ordinary line breaks.
        if matches!(c, '\u{2028}' | '\u{2029}') {
            clean.push('\n');
        }
    });
    (clean != text).then_some(clean)
}

/// Replaces invisible characters by JSON escapes, such as `\u202e`, so that JSON stays the same
/// document. Returns `None` if the text is clean.
pub fn escape_invisible(text: &str) -> Option<String> {
    if is_clean(text) {
        return None;
    }
    let escaped = replace_invisible(text, push_escape);
    (escaped != text).then_some(escaped)
}

/// Escapes a text as [`escape_invisible`] does, and line breaks and tabs as well. Used for values in a line
/// of the server's own output, which must not start another line.
pub fn escape_to_one_line(text: &str) -> Cow<'_, str> {
    // Without a branch, as in `is_clean`: almost every text is printable ASCII.
    if !text
        .bytes()
        .fold(false, |found, byte| found | !matches!(byte, b' '..=b'~'))
    {
        return Cow::Borrowed(text);
    }
    let text = match text.contains(['\n', '\t']) {
        true => Cow::Owned(text.replace('\n', "\\n").replace('\t', "\\t")),
        false => Cow::Borrowed(text),
    };
    match escape_invisible(&text) {
        Some(escaped) => Cow::Owned(escaped),
        None => text,
    }
}

fn push_escape(text: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a string cannot fail.
        _ = write!(text, "\\u{unit:04x}");
    }
}

/// Calls `instead` for each invisible character, and copies all others.
fn replace_invisible(text: &str, instead: impl Fn(&mut String, char)) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut before = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == BLACK_FLAG
            && let Some(flag) = flag_tag_count(rest.as_str())
        {
            clean.push(c);
            // Tags count as marks of the flag: no joiner or selector may follow them.
            clean.extend(rest.by_ref().take(flag));
            before = Some(CANCEL_TAG);
            continue;
        }
        let is_break = matches!(c, '\u{2028}' | '\u{2029}');
        if is_visible(c) || is_kept_in_context(c, before, rest.clone().next()) {
            clean.push(c);
        } else {
            instead(&mut clean, c);
            if !is_break {
                continue;
            }
        }
        before = Some(c);
    }
    clean
}

fn is_clean(text: &str) -> bool {
    // Without a branch, so that the compiler can check many bytes at once.
    let control = |byte: u8| (byte < b' ' && byte != b'\n' && byte != b'\t') || byte == 0x7f;
    if text.is_ascii() {
        return !text
            .bytes()
            .fold(false, |found, byte| found | control(byte));
    }
    text.chars().all(is_visible)
}

/// Returns `true` if a character has a shape of its own and stays in any context. Line breaks and
/// tabs count as visible.
pub fn is_visible(c: char) -> bool {
    match c {
        '\n' | '\t' | ' '..='~' => true,
        // Most of Latin, Greek and Cyrillic; Chinese, Japanese and Korean.
        '\u{a0}'..='\u{ac}' | '\u{ae}'..='\u{34e}' | '\u{350}'..='\u{5ff}' => true,
        '\u{2000}'..='\u{200a}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' => true,
        '\u{20a0}'..='\u{20cf}' => true,
        '\u{3040}'..='\u{3163}' | '\u{3165}'..='\u{9fff}' | '\u{ac00}'..='\u{d7ff}' => true,
        c if is_shapeless(c) => false,
        _ => match get_general_category(c) {
            GeneralCategory::Control
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator => false,
            // Visible signs over or under numbers are of this category.
            GeneralCategory::Format => matches!(
                c,
                '\u{600}'
                    ..='\u{605}'
                        | '\u{6dd}'
                        | '\u{70f}'
                        | '\u{890}'
                        | '\u{891}'
                        | '\u{8e2}'
                        | '\u{110bd}'
                        | '\u{110cd}'
            ),
            _ => true,
        },
    }
}

/// Matches characters without a shape whose general category does not say so.
fn is_shapeless(c: char) -> bool {
    is_selector(c)
        || matches!(
            c,
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
                | '\u{2065}' | '\u{fff0}'..='\u{fff8}' | '\u{1d159}' | '\u{e0000}'..='\u{e0fff}'
        )
}

const fn is_selector(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Returns `true` if an invisible character changes the characters beside it, and so has to stay.
fn is_kept_in_context(c: char, before: Option<char>, after: Option<char>) -> bool {
    let Some(before) = before else { return false };
    match c {
        ZERO_WIDTH_JOINER if is_emoji_like(before) => after.is_some_and(is_emoji_like),
        ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER => {
            is_joining_letter(before)
                && after.is_none_or(|after| {
                    is_joining_letter(after) || !is_shapeless(after) && is_visible(after)
                })
        }
        '\u{fe0e}' | '\u{fe0f}' => {
            matches!(before, '0'..='9' | '#' | '*') || is_emoji_like(before) && !is_selector(before)
        }
        '\u{180b}'..='\u{180d}' | '\u{180f}' => {
            matches!(before, '\u{1800}'..='\u{180a}' | '\u{1810}'..='\u{18af}')
        }
        // For ideographs, and for letters and signs with two shapes.
        '\u{fe00}'..='\u{fe0d}' => !before.is_ascii() && !is_selector(before) && is_visible(before),
        '\u{e0100}'..='\u{e01ef}' => is_ideograph(before),
        // Old Korean is spelt with fillers.
        '\u{115f}' | '\u{1160}' => {
            let is_jamo = |c| matches!(c, '\u{1100}'..='\u{115e}' | '\u{1161}'..='\u{11ff}');
            is_jamo(before) || after.is_some_and(is_jamo)
        }
        _ => false,
    }
}

/// Matches emoji and similar signs, including a selector or skin tone after one.
const fn is_emoji_like(c: char) -> bool {
    matches!(
        c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{20e3}' | '\u{2122}' | '\u{2139}'
            | '\u{2190}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
            | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}'
    )
}

/// Matches letters of scripts in which a joiner changes the shape of words: Arabic and its
/// neighbours, the scripts of India and South-East Asia, Mongolian.
const fn is_joining_letter(c: char) -> bool {
    matches!(
        c,
        '\u{620}'..='\u{6ff}' | '\u{700}'..='\u{109f}' | '\u{1780}'..='\u{18af}'
            | '\u{1a20}'..='\u{1aaf}' | '\u{1b00}'..='\u{1c4f}' | '\u{a800}'..='\u{abff}'
            | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' | '\u{11000}'..='\u{11fff}'
    )
}

const fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Counts the tags after a black flag that turn it into another flag.
fn flag_tag_count(rest: &str) -> Option<usize> {
    let tags = rest.chars().take(6);
    let spelt: String = tags
        .map(|c| match c {
            CANCEL_TAG => '.',
            '\u{e0020}'..='\u{e007e}' => char::from_u32(c as u32 - 0xe0000).unwrap_or(' '),
            _ => ' ',
        })
        .collect();
    let name = spelt.strip_suffix('.')?;
    TAG_FLAGS.contains(&name).then_some(spelt.len())
}

//! Plain text for clients: titles and descriptions as they are published.
//!
//! Rustdoc marks code by backticks. Some gateways between client and server reject descriptions with
//! backticks or semicolons, and the marks cost clients bytes in every conversation.

/// Returns a text without backticks and semicolons.
///
/// A semicolon becomes a full stop, or a comma between brackets. The word after a full stop is
/// capitalised, unless it is a name.
pub(super) fn to_plain_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut brackets = 0_usize;
    let mut begins_sentence = false;
    for (at, character) in text.char_indices() {
        match character {
            '`' => continue,
            ';' if brackets > 0 => plain.push(','),
            ';' => {
                plain.push('.');
                let rest = text.get(at + 1..).unwrap_or_default();
                begins_sentence = begins_with_word(rest.trim_start());
                continue;
            }
            _ if begins_sentence && character.is_alphabetic() => {
                plain.extend(character.to_uppercase());
                begins_sentence = false;
            }
            _ => plain.push(character),
        }
        match character {
            '(' | '[' | '{' => brackets += 1,
            ')' | ']' | '}' => brackets = brackets.saturating_sub(1),
            _ => {}
        }
    }
    plain
}

/// Returns true if a text begins with a plain word, rather than with a name such as `trace_id`.
fn begins_with_word(text: &str) -> bool {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.trim_end_matches([',', '.'])
        .chars()
        .all(|character| character.is_alphabetic() || matches!(character, '-' | '\'' | '’'))
}

#[cfg(test)]
mod tests {
    use super::to_plain_text;

    #[test]
    fn published_text_has_no_backtick_and_no_semicolon() {
        for (written, published) in [
            ("Items per page; default 50.", "Items per page. Default 50."),
            (
                "Slug; `self` is the caller's own.",
                "Slug. self is the caller's own.",
            ),
            ("By name; trace_id, span_id.", "By name. trace_id, span_id."),
            (
                "List (these; all when left out).",
                "List (these, all when left out).",
            ),
            (
                "Template with {{variables}}; for chat, a list.",
                "Template with {{variables}}. For chat, a list.",
            ),
            (
                "type: cost|tokens; credit_limit: US dollars.",
                "type: cost|tokens. credit_limit: US dollars.",
            ),
        ] {
            assert_eq!(to_plain_text(written), published);
        }
    }
}

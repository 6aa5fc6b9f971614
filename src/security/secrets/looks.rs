//! What a text or an object is by its look alone: made at random, or a description of a field.

use portkey_operation::JsonMap;
use serde_json::Value;

/// A token shorter than this is not taken for a secret by its characters alone.
const MIN_RANDOM: usize = 24;
/// The same for one of hexadecimal digits, as identifiers are.
const MIN_RANDOM_HEX: usize = 32;

/// Whether a text is a UUID in its usual form.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The parts of a text that could each be a key.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '=')))
}

/// Whether a token has the look of something random: it changes between large and small letters and digits
/// far more often than names do, as those of models. A UUID is an identifier.
pub(super) fn is_random(token: &str) -> bool {
    if token.len() < MIN_RANDOM || is_uuid(token) {
        return false;
    }
    let is_hex = token
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    if is_hex && token.len() < MIN_RANDOM_HEX {
        return false;
    }
    let kind = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let letters: Vec<u8> = token.bytes().filter(u8::is_ascii_alphanumeric).collect();
    let changes = letters
        .iter()
        .zip(letters.iter().skip(1))
        .filter(|(a, b)| kind(**a) != kind(**b));
    // Three in ten: names have about one, random texts five or six.
    changes.count() * 10 >= letters.len() * 3
}

/// What a JSON Schema of a field has beside values (JSON Schema 2020-12).
const SCHEMA_WORDS: [&str; 30] = [
    "type",
    "title",
    "description",
    "format",
    "pattern",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "$ref",
    "$comment",
    "nullable",
    "deprecated",
    "readOnly",
    "writeOnly",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "contentEncoding",
];
/// What a JSON Schema of a field has that may be a value of it.
const SCHEMA_VALUES: [&str; 5] = ["default", "const", "enum", "example", "examples"];
const SCHEMA_TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "object", "array"];

/// Whether an object is the schema of a field, as tools of MCP have for each argument: a field that is called
/// `token` is none.
pub(super) fn is_schema(map: &JsonMap) -> bool {
    let known = |name: &String| SCHEMA_WORDS.contains(&name.as_str()) || is_schema_value(name);
    let is_type = |word: &str| SCHEMA_TYPES.contains(&word);
    map.get("type")
        .and_then(|word| word.as_str())
        .is_some_and(is_type)
        && map.keys().all(known)
}

/// Whether a field of a schema may have a value of what it describes.
pub(super) fn is_schema_value(name: &str) -> bool {
    SCHEMA_VALUES.contains(&name)
}

/// Whether a JSON text says what was read out of it and no more. A name that stands twice in an object is read
/// once, and what stood there first is in the text still.
pub(super) fn says_only(text: &str, read: &Value) -> bool {
    let (mut in_text, mut is_escaped) = (false, false);
    let compact = text.bytes().filter(|byte| {
        let is_space = !in_text && byte.is_ascii_whitespace();
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_text,
            b'"' => in_text = !in_text,
            _ => {}
        }
        !is_space
    });
    compact.eq(read.to_string().bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        text: &'static str,
        says_only: bool,
    }

    #[test]
    fn a_name_that_stands_twice_is_found() {
        let cases = [
            Case {
                text: "{\"a\": [1,  {\"b\":\" \\\" x\"}]}\n",
                says_only: true,
            },
            Case {
                text: "[]",
                says_only: true,
            },
            Case {
                text: "{\"a\":1,\"a\":2}",
                says_only: false,
            },
            Case {
                text: "{\"a\":{\"b\":1,\"b\":1}}",
                says_only: false,
            },
            // Written in another way it is no less the same, and written anew to be safe.
            Case {
                text: "{\"a\":\"\\u0062\"}",
                says_only: false,
            },
        ];
        for Case {
            text,
            says_only: expected,
        } in cases
        {
            let read: Value = serde_json::from_str(text).unwrap();
            assert_eq!(says_only(text, &read), expected, "{text}");
        }
    }
}

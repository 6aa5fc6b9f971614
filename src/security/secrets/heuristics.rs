//! Heuristics on texts and objects themselves: UUIDs, random tokens, and JSON Schemas of fields.

use portkey_operation::JsonMap;
use serde_json::Value;

/// Minimum length of a token that is taken for a secret by its characters alone, in bytes.
const MIN_RANDOM_BYTES: usize = 24;
/// Minimum length of such a token of hexadecimal digits, in bytes. Identifiers are often
/// hexadecimal.
const MIN_RANDOM_HEX_BYTES: usize = 32;

/// Returns `true` if a text is a UUID in its usual form.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Splits a text into parts that could each be a key.
pub(super) fn candidate_tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '=')))
}

/// Returns `true` if a token looks random.
///
/// A random token changes between large letters, small letters and digits far more often than names
/// do, such as those of models. A UUID is an identifier and does not count.
pub(super) fn is_random(token: &str) -> bool {
    if token.len() < MIN_RANDOM_BYTES || is_uuid(token) {
        return false;
    }
    let is_hex = token
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    if is_hex && token.len() < MIN_RANDOM_HEX_BYTES {
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

/// Keywords in a JSON Schema of a field that hold no value of the field (JSON Schema 2020-12).
const SCHEMA_KEYWORDS: [&str; 30] = [
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
/// Keywords in a JSON Schema of a field that may hold a value of the field.
const SCHEMA_VALUE_KEYWORDS: [&str; 5] = ["default", "const", "enum", "example", "examples"];
const SCHEMA_TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "object", "array"];

/// Returns `true` if an object is the JSON Schema of a field, as MCP tools have for each argument.
/// Such a field called `token` is no secret.
pub(super) fn is_schema(map: &JsonMap) -> bool {
    let known =
        |name: &String| SCHEMA_KEYWORDS.contains(&name.as_str()) || is_schema_value_keyword(name);
    let is_type = |word: &str| SCHEMA_TYPES.contains(&word);
    map.get("type")
        .and_then(|word| word.as_str())
        .is_some_and(is_type)
        && map.keys().all(known)
}

/// Returns `true` if a keyword of a schema may hold a value of the described field.
pub(super) fn is_schema_value_keyword(name: &str) -> bool {
    SCHEMA_VALUE_KEYWORDS.contains(&name)
}

/// Returns `true` if a JSON text holds exactly the value that was parsed from it.
///
/// Of a name that occurs twice in an object only one value is parsed, and the first one is still in
/// the text.
pub(super) fn is_exact_json(text: &str, read: &Value) -> bool {
    let mut in_text = false;
    let mut is_escaped = false;
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
    fn duplicate_name_is_detected() {
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
            // An equal value in another spelling, which the scanner rewrites.
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
            assert_eq!(is_exact_json(text, &read), expected, "{text}");
        }
    }
}

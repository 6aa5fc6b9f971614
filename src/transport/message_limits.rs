//! Limits of a message, checked before it is parsed: its number of values, and the length of names
//! that a response may repeat.

use std::fmt;

use portkey_operation::{MAX_VALUES, measure_json};
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// Maximum size of messages of which only the depth is checked, in bytes. They cannot hold too much,
/// and may be repeated whole.
const MAX_UNCHECKED_BYTES: usize = 4 << 10;
/// Maximum number of names and items in a message: those in arguments, and the fields around them.
const MAX_MESSAGE_VALUES: usize = MAX_VALUES + 1_000;
/// Maximum depth of a message. The parser has the same limit, with a less helpful message.
const MAX_MESSAGE_DEPTH: usize = 127;
/// Maximum length of a name in a larger message, in bytes.
const MAX_NAME_BYTES: usize = 1_024;
/// Maximum depth of such a name below the message.
const MAX_NAME_DEPTH: usize = 3;
/// Fields whose value a response may repeat.
const CHECKED_FIELDS: [&str; 8] = [
    "id",
    "method",
    "name",
    "uri",
    "cursor",
    "protocolVersion",
    "io.modelcontextprotocol/protocolVersion",
    "progressToken",
];
/// Field that a response does not repeat, or bounds by itself.
const ARGUMENTS_FIELD: &str = "arguments";

/// A message that is beyond a limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RejectedMessage {
    /// The message is valid JSON.
    pub(super) is_json: bool,
    /// The limit that the message exceeds, and what to do.
    pub(super) reason: String,
    /// The id of the request, if it is short enough to be repeated.
    pub(super) id: Option<Value>,
}

/// Checks a message against the limits.
///
/// Text that is no message passes, unless it is too large to be parsed. The parser reports errors
/// in it later.
///
/// # Errors
/// Returns the first limit that the message exceeds.
pub(super) fn check(message: &[u8]) -> Result<(), RejectedMessage> {
    let is_small = message.len() <= MAX_UNCHECKED_BYTES;
    if is_small && !may_be_deep(message) {
        return Ok(());
    }
    let (values, depth) = measure_json(message, MAX_MESSAGE_VALUES);
    let mut found = ScannedFields::default();
    let level = ValueVisitor {
        depth: 0,
        name: None,
        found: &mut found,
    };
    let is_json = level
        .deserialize(&mut serde_json::Deserializer::from_slice(message))
        .is_ok();
    let is_large = values > MAX_MESSAGE_VALUES || depth > MAX_MESSAGE_DEPTH;
    let what = if is_large && !is_json {
        "the message is no JSON".to_owned()
    } else if values > MAX_MESSAGE_VALUES {
        format!(
            "the message holds more than {MAX_MESSAGE_VALUES} names and items; send less at once"
        )
    } else if depth > MAX_MESSAGE_DEPTH {
        format!("the message is nested too deeply: it has more than {MAX_MESSAGE_DEPTH} levels")
    } else if let Some(name) = found.too_long.filter(|_| !is_small) {
        format!("`{name}` in the message is longer than {MAX_NAME_BYTES} bytes")
    } else {
        return Ok(());
    };
    Err(RejectedMessage {
        is_json,
        reason: what,
        id: found.id,
    })
}

/// Returns true if a message opens enough lists and objects to exceed the maximum depth.
fn may_be_deep(message: &[u8]) -> bool {
    memchr::memchr2_iter(b'[', b'{', message)
        .nth(MAX_MESSAGE_DEPTH)
        .is_some()
}

#[derive(Default)]
struct ScannedFields {
    id: Option<Value>,
    /// Field whose value is too long.
    too_long: Option<&'static str>,
}

/// One value of a message, with its field if that is in [`CHECKED_FIELDS`]. Visits values of every
/// type.
struct ValueVisitor<'a> {
    depth: usize,
    name: Option<&'static str>,
    found: &'a mut ScannedFields,
}

impl ValueVisitor<'_> {
    fn is_id(&self) -> bool {
        self.depth == 1 && self.name == Some("id")
    }
}

impl<'de> DeserializeSeed<'de> for ValueVisitor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        if self.is_id() {
            self.found.id = Some(number.into());
        }
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        if self.is_id() {
            self.found.id = Some(number.into());
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        match self.name {
            Some(name) if text.len() > MAX_NAME_BYTES => self.found.too_long = Some(name),
            Some(_) if self.is_id() => self.found.id = Some(text.into()),
            _ => {}
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        if self.depth >= MAX_NAME_DEPTH {
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while let Some(key) = fields.next_key::<String>()? {
            if key == ARGUMENTS_FIELD {
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            let name = CHECKED_FIELDS.into_iter().find(|name| *name == key);
            let depth = self.depth + 1;
            fields.next_value_seed(ValueVisitor {
                depth,
                name,
                found: &mut *self.found,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::*;

    struct Case {
        what: &'static str,
        message: String,
        says: Option<&'static str>,
        id: Option<Value>,
    }

    #[test]
    fn messages_beyond_a_limit_are_rejected_with_their_id() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        let filler = "x".repeat(MAX_UNCHECKED_BYTES);
        let call = |arguments: Value| {
            json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
                "params": { "name": "list-labels", "arguments": arguments } })
            .to_string()
        };
        let with = |field: &str, value: &Value| {
            let mut message = json!({ "jsonrpc": "2.0", "id": "a", "method": "m",
                "params": { "filler": filler } });
            *message.pointer_mut(field).unwrap_or(&mut Value::Null) = value.clone();
            message.to_string()
        };
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let cases = [
            Case {
                what: "an ordinary large call",
                message: call(json!({ "text": filler, "list": vec![1; 2_000] })),
                says: None,
                id: None,
            },
            Case {
                what: "long names in arguments are none of an answer's",
                message: call(json!({ "name": filler, "id": filler })),
                says: None,
                id: None,
            },
            Case {
                what: "many arguments",
                message: call((0..380_000).map(|i| (format!("a{i}"), json!(1))).collect()),
                says: Some("more than 41000 names and items"),
                id: Some(json!(7)),
            },
            Case {
                what: "many levels",
                message: format!(r#"{{"params":{{"arguments":{{"a":{deep}}}}},"id":8}}"#),
                says: Some("more than 127 levels"),
                id: Some(json!(8)),
            },
            Case {
                what: "many levels in a small message",
                message: format!(
                    r#"{{"id":8,"params":{{"name":"{long}","a":{}{}}}}}"#,
                    "[".repeat(126),
                    "]".repeat(126)
                ),
                says: Some("nested too deeply: it has more than 127 levels"),
                id: Some(json!(8)),
            },
            Case {
                what: "as many levels as a message may have",
                message: format!(
                    r#"{{"id":8,"params":{{"name":"{long}","a":{}{},"b":[]}}}}"#,
                    "[".repeat(125),
                    "]".repeat(125)
                ),
                says: None,
                id: None,
            },
            Case {
                what: "many lists beside each other in a small message",
                message: format!(r#"{{"id":8,"params":[{}[]]}}"#, "[],".repeat(1_000)),
                says: None,
                id: None,
            },
            Case {
                what: "a long id",
                message: with("/id", &json!(filler)),
                says: Some("`id`"),
                id: None,
            },
            Case {
                what: "a long method",
                message: with("/method", &json!(filler)),
                says: Some("`method`"),
                id: Some(json!("a")),
            },
            Case {
                what: "a long name among parameters that are of another kind",
                message: format!(
                    r#"{{"id":9,"id":9,"params":{{"ref":5,"_meta":[1],"name":"{long}","x":"{filler}"}}}}"#
                ),
                says: Some("`name`"),
                id: Some(json!(9)),
            },
            Case {
                what: "a long revision",
                message: format!(
                    r#"{{"params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"{filler}"}}}}}}"#
                ),
                says: Some("`io.modelcontextprotocol/protocolVersion`"),
                id: None,
            },
            Case {
                what: "no JSON",
                message: filler.clone(),
                says: None,
                id: None,
            },
            Case {
                what: "no JSON, and much of it",
                message: "[".repeat(100_000),
                says: Some("is no JSON"),
                id: None,
            },
        ];
        for Case {
            what,
            message,
            says,
            id,
        } in cases
        {
            match (check(message.as_bytes()), says) {
                (Ok(()), None) => {}
                (Err(excess), Some(says)) => {
                    assert!(excess.reason.contains(says), "{what}: {}", excess.reason);
                    assert_eq!(excess.id, id, "{what}");
                }
                (outcome, _) => panic!("{what}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn long_name_in_a_small_message_passes() {
        let message = format!(r#"{{"id":"{}"}}"#, "x".repeat(MAX_UNCHECKED_BYTES - 9));
        assert_eq!(
            (message.len(), check(message.as_bytes())),
            (MAX_UNCHECKED_BYTES, Ok(()))
        );
    }
}

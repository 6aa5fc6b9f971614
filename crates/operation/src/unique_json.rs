//! Parses JSON, and finds names that an object has twice.
//!
//! Parsers differ on which of two values counts, so a document with such a name may mean one thing
//! here and another upstream.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// A parsed JSON document.
#[derive(Clone, Debug, PartialEq)]
pub struct UniqueJson {
    /// The value. Of two values with the same name, the last one.
    pub value: Value,
    /// The first name that an object has twice.
    pub repeated_name: Option<String>,
}

impl UniqueJson {
    /// Parses a document.
    ///
    /// # Errors
    /// Returns an error if the text is not JSON, or nested more deeply than 128 levels.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut repeated_name = None;
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let value = ValueSeed(&mut repeated_name).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(Self {
            value,
            repeated_name,
        })
    }
}

/// Builds a value, and stores the first repeated name.
struct ValueSeed<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(ValueSeed(&mut *self.0))? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(ValueSeed(&mut *self.0))?;
            if self.0.is_none() && map.contains_key(&name) {
                *self.0 = Some(name.clone());
            }
            map.insert(name, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn documents_have_the_values_that_serde_json_reads() {
        for json in [
            "null",
            "[1,-2,3.5,1e3,18446744073709551615,\"a\\u00e9\",true,{}]",
            r#"{"b":1,"a":{"c":[{"d":null}]}}"#,
        ] {
            let expected: Value = serde_json::from_str(json).unwrap();
            let parsed = UniqueJson::parse(json.as_bytes()).unwrap();
            assert_eq!(parsed.value, expected, "{json}");
            assert_eq!(parsed.value.to_string(), expected.to_string(), "{json}");
            assert_eq!(parsed.repeated_name, None, "{json}");
        }
    }

    #[test]
    fn repeated_names_are_found_at_any_depth() {
        for json in [
            r#"{"a":1,"a":2}"#,
            r#"{"b":[{"a":1,"\u0061":1}]}"#,
            r#"{"c":{"a":1,"b":2,"a":3}}"#,
        ] {
            let parsed = UniqueJson::parse(json.as_bytes()).unwrap();
            assert_eq!(parsed.repeated_name.as_deref(), Some("a"), "{json}");
        }
    }

    #[test]
    fn invalid_documents_are_rejected() {
        for json in ["", "{", "{} {}", "1e999", "{\"a\":}", &"[".repeat(1_000)] {
            assert!(UniqueJson::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}

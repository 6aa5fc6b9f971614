//! Puts the values of aliases where they belong: into objects, lists and texts.

use serde_json::Value;

use super::{
    super::{Findings, JsonMap, MAX_DEPTH, MAX_VALUES, is_same_name, measure_json},
    AliasRule, ArgumentAlias,
};

/// Returns the text form of a list, whose items are joined by commas, or of an object, which is JSON.
fn to_text(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let texts = items.iter().map(|item| match item {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            texts.collect::<Vec<_>>().join(",").into()
        }
        Value::Object(_) => value.to_string().into(),
        scalar => scalar,
    }
}

/// Parses a text as JSON, within the limits of all arguments.
pub(super) fn parse_json(text: &str, findings: &mut Findings) -> Option<Value> {
    let (values, depth) = measure_json(text.as_bytes(), MAX_VALUES);
    let fits = depth <= MAX_DEPTH && findings.reserve_json_values(values);
    fits.then(|| serde_json::from_str(text).ok()).flatten()
}

impl ArgumentAlias {
    /// Puts a value that was given under a name at the target.
    ///
    /// # Errors
    /// Returns the problem if the target has another value, or is in something that is no object.
    pub(super) fn place(
        &self,
        args: &mut JsonMap,
        name: &str,
        mut value: Value,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let target = self.target;
        if self.rule == AliasRule::Spread {
            return self.spread(args, name, value, findings);
        }
        if self.rule == AliasRule::JsonText && (value.is_array() || value.is_object()) {
            value = Value::String(value.to_string());
        }
        if self.rule == AliasRule::Preferred {
            value = to_text(value);
        }
        if self.rule == AliasRule::Slug && value.as_str().is_some_and(|text| is_uuid(text.trim())) {
            return Err("is a UUID; this takes the slug, as `slug`".to_owned());
        }
        let slot = find_slot(args, target, findings)?;
        if target.ends_with("[]") && !value.is_array() && !value.is_null() {
            value = Value::Array(vec![value]);
        }
        if slot.is_null() {
            *slot = value;
        } else if self.rule == AliasRule::Preferred {
            if *slot != value {
                findings.warn(format_args!(
                    "`{target}` was left out, because `{name}` says it, too"
                ));
            }
            *slot = value;
        } else if *slot != value {
            return Err(format!(
                "is given twice with different values, as `{name}` and `{target}`"
            ));
        }
        Ok(())
    }

    /// Moves the fields of an object into the one at the target.
    ///
    /// # Errors
    /// Returns the problem if the value is no object, or a field has another value already.
    fn spread(
        &self,
        args: &mut JsonMap,
        given: &str,
        value: Value,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let Value::Object(fields) = value else {
            return Err("takes an object".to_owned());
        };
        if fields.is_empty() {
            return Ok(());
        }
        let object = match self.target {
            "" => args,
            target => {
                let slot = find_slot(args, target, findings)?;
                if slot.is_null() {
                    *slot = Value::Object(JsonMap::new());
                }
                slot.as_object_mut()
                    .ok_or_else(|| format!("belongs into `{target}`, which is no object"))?
            }
        };
        for (name, value) in fields {
            let slot = object.entry(name).or_insert(Value::Null);
            if slot.is_null() {
                *slot = value;
            } else if *slot != value {
                return Err(format!(
                    "a field of `{given}` is given twice with different values"
                ));
            }
        }
        Ok(())
    }
}

/// Returns true if there is a value at a path, such as `usage_limits[]`.
pub(super) fn is_given(args: &JsonMap, path: &str) -> bool {
    let mut map = args;
    let mut steps = path.split('.').peekable();
    while let Some(step) = steps.next() {
        let name = step.trim_end_matches("[]");
        let given = map.iter().find(|(given, _)| is_same_name(given, name));
        let value = match given.map(|(_, value)| value) {
            Some(Value::Array(items)) => items.first(),
            other => other,
        };
        match value {
            None | Some(Value::Null) => return false,
            Some(Value::Object(inner)) if steps.peek().is_some() => map = inner,
            // Text holds what nobody has parsed yet.
            Some(_) => return true,
        }
    }
    false
}

fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let fits = |(i, byte): (usize, &u8)| match i {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    bytes.len() == 36 && bytes.iter().enumerate().all(fits)
}

/// Returns the value at a path, such as `users[].role`. It is `null` if it was absent.
///
/// # Errors
/// Returns the problem if a part of the path is no object, or a list of several.
pub(super) fn find_slot<'a>(
    args: &'a mut JsonMap,
    path: &str,
    findings: &mut Findings,
) -> Result<&'a mut Value, String> {
    let mut steps = path.split('.');
    let first = steps.next().unwrap_or_default();
    let name = first.trim_end_matches("[]");
    // The caller may have given the argument in another spelling.
    let given = match args.contains_key(name) {
        true => None,
        false => args.keys().find(|given| is_same_name(given, name)).cloned(),
    };
    let mut slot = args
        .entry(given.unwrap_or_else(|| name.to_owned()))
        .or_insert(Value::Null);
    let mut step = first;
    for next in steps {
        let name = step.trim_end_matches("[]");
        if let Value::String(text) = slot
            && let Some(parsed @ (Value::Object(_) | Value::Array(_))) = parse_json(text, findings)
        {
            *slot = parsed;
        }
        if step.ends_with("[]") {
            if slot.is_null() {
                *slot = Value::Array(vec![]);
            }
            let list = slot
                .as_array_mut()
                .ok_or_else(|| format!("belongs into `{name}`, which is no list"))?;
            if list.is_empty() {
                list.push(Value::Null);
            }
            slot = match list.as_mut_slice() {
                [only] => only,
                _ => return Err(format!("belongs into an item of `{name}`; give it there")),
            };
        }
        if slot.is_null() {
            *slot = Value::Object(JsonMap::new());
        }
        let object = slot
            .as_object_mut()
            .ok_or_else(|| format!("belongs into `{name}`, which is no object"))?;
        step = next;
        slot = object
            .entry(step.trim_end_matches("[]"))
            .or_insert(Value::Null);
    }
    Ok(slot)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{alias, preferred_alias},
        *,
    };

    /// Returns the arguments with this alias resolved, or the problem.
    fn resolve(alias: ArgumentAlias, args: Value) -> Result<Value, String> {
        let Value::Object(mut args) = args else {
            panic!("arguments are an object")
        };
        let value = args.shift_remove(alias.name).unwrap();
        alias.place(&mut args, alias.name, value, &mut Findings::default())?;
        Ok(Value::Object(args))
    }

    #[test]
    fn alias_is_placed_in_objects_and_lists() {
        struct Case {
            target: &'static str,
            args: Value,
            expected: Value,
        }
        let cases = [
            Case {
                target: "name",
                args: json!({"a": 1}),
                expected: json!({"name": 1}),
            },
            Case {
                target: "outer.inner",
                args: json!({"a": 1}),
                expected: json!({"outer": {"inner": 1}}),
            },
            Case {
                target: "outer.inner",
                args: json!({"a": 1, "outer": {"other": 2}}),
                expected: json!({"outer": {"other": 2, "inner": 1}}),
            },
            Case {
                target: "outer.inner",
                args: json!({"a": 1, "outer": "{\"other\": 2}"}),
                expected: json!({"outer": {"other": 2, "inner": 1}}),
            },
            Case {
                target: "users[].role",
                args: json!({"a": 1, "users": [{"id": 2}]}),
                expected: json!({"users": [{"id": 2, "role": 1}]}),
            },
            Case {
                target: "slugs[]",
                args: json!({"a": 1}),
                expected: json!({"slugs": [1]}),
            },
            Case {
                target: "outer_name.inner",
                args: json!({"a": 1, "outerName": {"other": 2}}),
                expected: json!({"outerName": {"other": 2, "inner": 1}}),
            },
            Case {
                target: "name",
                args: json!({"a": 1, "name": 1}),
                expected: json!({"name": 1}),
            },
        ];
        for case in cases {
            let resolved = resolve(alias("a", case.target), case.args);
            assert_eq!(resolved, Ok(case.expected), "{}", case.target);
        }
    }

    #[test]
    fn alias_beside_another_value_is_rejected() {
        for (target, args) in [
            ("name", json!({"a": 1, "name": 2})),
            ("outer.inner", json!({"a": 1, "outer": {"inner": 2}})),
            ("outer.inner", json!({"a": 1, "outer": 2})),
            ("users[].role", json!({"a": 1, "users": [{}, {}]})),
            ("users[].role", json!({"a": 1, "users": {}})),
        ] {
            assert!(resolve(alias("a", target), args).is_err(), "{target}");
        }
    }

    #[test]
    fn preferred_alias_replaces_the_other_form() {
        let resolved = resolve(
            preferred_alias("codes", "code"),
            json!({"codes": ["500", 502], "code": "400"}),
        );
        assert_eq!(resolved, Ok(json!({"code": "500,502"})));
    }
}

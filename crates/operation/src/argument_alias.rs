//! Aliases of arguments: names that other servers for the same API use, and the places they stand
//! for.
//!
//! They are resolved before validation, so that policies, audit and requests see canonical
//! arguments only. They are never published.

use serde_json::Value;

use super::{
    BodyKind, Effect, Findings, JsonMap, MAX_DEPTH, MAX_VALUES, Operation, is_same_name,
    measure_json,
};

/// Maximum number of arguments of a call in which aliases are looked for. No operation has as many, and
/// each unknown name is compared with each alias.
const MAX_ALIASED_ARGUMENTS: usize = 200;

/// The wrapper in which some callers give the fields of a request's body.
const BODY_WRAPPER: &str = "body";

/// The argument with which callers of other servers ask that nothing is sent.
const DRY_RUN: &str = "dry_run";

/// Another name of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgumentAlias {
    name: &'static str,
    target: &'static str,
    rule: AliasRule,
}

/// What an alias does beside a value that stands at its target already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AliasRule {
    /// Both must be equal.
    Equal,
    /// The alias is the more precise form, and wins with a warning.
    Preferred,
    /// The alias is an object, whose fields belong into the object at the target.
    Spread,
    /// The alias is JSON, and the target is a text that holds it.
    JsonText,
    /// The target is a part of a document, which an update replaces as a whole.
    Part,
    /// No argument: this text is the value of the target if an alias filled its object.
    Default(&'static str),
}

/// Declares another name of the argument at `target`, such as `users[].role`.
///
/// The part before `[]` is a list, which then has one item.
pub const fn alias(name: &'static str, target: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target,
        rule: AliasRule::Equal,
    }
}

/// Declares a list or an object in place of the text at `target`. It wins if both are given.
pub const fn preferred_alias(name: &'static str, target: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target,
        rule: AliasRule::Preferred,
    }
}

/// Declares an object whose fields belong into the one at `target`; the empty path is that of all
/// arguments.
pub const fn spread_alias(name: &'static str, target: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target,
        rule: AliasRule::Spread,
    }
}

/// Declares a list or an object that the text at `target` takes as JSON.
pub const fn json_text_alias(name: &'static str, target: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target,
        rule: AliasRule::JsonText,
    }
}

/// Declares a part of a document that callers give as an argument of its own.
///
/// An update replaces the whole document. The caller is then warned that nothing else remains.
pub const fn part_alias(name: &'static str, target: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target,
        rule: AliasRule::Part,
    }
}

/// Declares the text at `target` where aliases fill the rest of its object.
pub const fn alias_default(target: &'static str, text: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name: "",
        target,
        rule: AliasRule::Default(text),
    }
}

impl ArgumentAlias {
    /// Returns the other name. It is empty for a default.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the path of the argument, such as `configurations.aws_region`.
    pub fn target(&self) -> &'static str {
        self.target
    }

    /// Returns the path of the object that holds the target.
    fn parent(&self) -> &'static str {
        self.target
            .rsplit_once('.')
            .map_or("", |(parent, _)| parent)
    }
}

/// The aliases of one operation, with those that follow from its path.
#[derive(Clone, Debug)]
pub(super) struct ArgumentAliases {
    aliases: Vec<ArgumentAlias>,
    /// The argument that a `body` stands for if it is not an object.
    bare_body: Option<&'static str>,
    unwraps_body: bool,
    is_update: bool,
}

impl ArgumentAliases {
    /// Collects the aliases of an operation. `is_argument` tells whether it has an argument of a
    /// name.
    ///
    /// Where a path names one entity by its id, `id` means that one. An entity that is named by its slug
    /// may have an id, too, which the path would not take.
    pub(super) fn new(operation: &Operation, is_argument: impl Fn(&str) -> bool) -> Self {
        let mut aliases = operation.argument_aliases.to_vec();
        let mut placeholders = operation.placeholders();
        if let (Some(only), None) = (placeholders.next(), placeholders.next())
            && only.ends_with("_id")
            && !is_argument("id")
            && !aliases.iter().any(|alias| alias.name == "id")
        {
            aliases.push(alias("id", only));
        }
        let bare_body = match operation.body {
            BodyKind::Bare(argument) => Some(argument),
            _ => None,
        };
        Self {
            aliases,
            bare_body,
            unwraps_body: operation.body != BodyKind::None && !is_argument(BODY_WRAPPER),
            is_update: operation.effect == Effect::Update,
        }
    }

    /// Iterates over the aliases with their targets.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ArgumentAlias> {
        self.aliases.iter().filter(|alias| !alias.name.is_empty())
    }

    /// Returns the path that a name stands for.
    pub(super) fn target(&self, name: &str) -> Option<&'static str> {
        self.find(name).map(|alias| alias.target)
    }

    fn find(&self, name: &str) -> Option<&ArgumentAlias> {
        self.iter().find(|alias| is_same_name(alias.name, name))
    }

    /// Moves every alias to the place it stands for. `is_argument` tells whether a name is declared.
    pub(super) fn resolve(
        &self,
        args: &mut JsonMap,
        is_argument: impl Fn(&str) -> bool,
        findings: &mut Findings,
    ) {
        if !is_argument(DRY_RUN) {
            reject_dry_run(args, findings);
        }
        if self.unwraps_body && args.contains_key(BODY_WRAPPER) {
            self.unwrap_body(args, findings);
        }
        // A call with more unknown names is rejected.
        if args.len() > MAX_ALIASED_ARGUMENTS {
            return;
        }
        let found: Vec<_> = args
            .keys()
            .filter(|name| !is_argument(name))
            .filter_map(|name| Some((name.clone(), *self.find(name)?)))
            .collect();
        self.warn_of_replaced_document(args, &found, findings);
        for (name, alias) in &found {
            let Some(value) = args.shift_remove(name) else {
                continue;
            };
            if let Err(problem) = alias.place(args, value, findings) {
                findings.add_error(name, problem);
            }
        }
        let is_filled = |default: &ArgumentAlias| {
            found
                .iter()
                .any(|(_, alias)| alias.parent() == default.parent())
        };
        for default in self.aliases.iter().filter(|alias| is_filled(alias)) {
            if let AliasRule::Default(text) = default.rule
                && let Ok(slot) = find_slot(args, default.target, findings)
                && slot.is_null()
            {
                *slot = text.into();
            }
        }
    }

    /// Warns if an update consists of parts of a document, which it replaces as a whole.
    fn warn_of_replaced_document(
        &self,
        args: &JsonMap,
        found: &[(String, ArgumentAlias)],
        findings: &mut Findings,
    ) {
        let is_part = |alias: &ArgumentAlias| alias.rule == AliasRule::Part;
        let part = found.iter().find(|(_, alias)| is_part(alias));
        let document = part.and_then(|(_, alias)| alias.target.split('.').next());
        if let Some(document) = document
            && self.is_update
            && !args.contains_key(document)
        {
            findings.warn(format_args!(
                "`{document}` was replaced as a whole; of the former one nothing remains but what this call gives"
            ));
        }
    }

    /// Moves the fields of a `body` to the other arguments.
    fn unwrap_body(&self, args: &mut JsonMap, findings: &mut Findings) {
        let fields = match args.get(BODY_WRAPPER) {
            Some(Value::Object(_)) => true,
            Some(Value::String(text)) => text.trim_start().starts_with('{'),
            _ => false,
        };
        if !fields {
            if let Some(argument) = self.bare_body
                && !args.contains_key(argument)
                && let Some(value) = args.shift_remove(BODY_WRAPPER)
            {
                args.insert(argument.to_owned(), value);
            }
            return;
        }
        let fields = match args.shift_remove(BODY_WRAPPER) {
            Some(Value::Object(fields)) => fields,
            Some(Value::String(text)) => match parse_json(&text, findings) {
                Some(Value::Object(fields)) => fields,
                _ => return findings.add_error(BODY_WRAPPER, "is no valid JSON object"),
            },
            _ => return,
        };
        for (name, value) in fields {
            match args.get(&name) {
                Some(given) if *given != value => findings.add_error(
                    &name,
                    "is given twice with different values, in `body` and beside it",
                ),
                Some(_) => {}
                None => {
                    args.insert(name, value);
                }
            }
        }
    }
}

/// Rejects a call that asks for a dry run. Sent as an unknown argument, it would change something.
fn reject_dry_run(args: &mut JsonMap, findings: &mut Findings) {
    match args.get(DRY_RUN) {
        None => {}
        Some(Value::Null | Value::Bool(false)) => _ = args.shift_remove(DRY_RUN),
        Some(_) => {
            args.shift_remove(DRY_RUN);
            findings.add_error(
                DRY_RUN,
                "a single call cannot be run dry; the server can, with `--dry-run` or a policy rule",
            );
        }
    }
}

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
fn parse_json(text: &str, findings: &mut Findings) -> Option<Value> {
    let (values, depth) = measure_json(text.as_bytes(), MAX_VALUES);
    let fits = depth <= MAX_DEPTH && findings.reserve_json_values(values);
    fits.then(|| serde_json::from_str(text).ok()).flatten()
}

impl ArgumentAlias {
    /// Puts a value at the target.
    ///
    /// # Errors
    /// Returns the problem if the target has another value, or is in something that is no object.
    fn place(
        &self,
        args: &mut JsonMap,
        mut value: Value,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let target = self.target;
        if self.rule == AliasRule::Spread {
            return self.spread(args, value, findings);
        }
        if self.rule == AliasRule::JsonText && (value.is_array() || value.is_object()) {
            value = Value::String(value.to_string());
        }
        if self.rule == AliasRule::Preferred {
            value = to_text(value);
        }
        let slot = find_slot(args, target, findings)?;
        if target.ends_with("[]") && !value.is_array() && !value.is_null() {
            value = Value::Array(vec![value]);
        }
        if slot.is_null() {
            *slot = value;
        } else if self.rule == AliasRule::Preferred {
            if *slot != value {
                let name = self.name;
                findings.warn(format_args!(
                    "`{target}` was left out, because `{name}` says it, too"
                ));
            }
            *slot = value;
        } else if *slot != value {
            let name = self.name;
            return Err(format!(
                "is given twice with different values, as `{name}` and `{target}`"
            ));
        }
        Ok(())
    }
}

impl ArgumentAlias {
    /// Moves the fields of an object into the one at the target.
    ///
    /// # Errors
    /// Returns the problem if the value is no object, or a field has another value already.
    fn spread(
        &self,
        args: &mut JsonMap,
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
                let name = self.name;
                return Err(format!(
                    "a field of `{name}` is given twice with different values"
                ));
            }
        }
        Ok(())
    }
}

/// Returns the value at a path, such as `users[].role`. It is `null` if it was absent.
///
/// # Errors
/// Returns the problem if a part of the path is no object, or a list of several.
fn find_slot<'a>(
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

    use super::*;

    /// Returns the arguments with this alias resolved, or the problem.
    fn resolve(alias: ArgumentAlias, args: Value) -> Result<Value, String> {
        let Value::Object(mut args) = args else {
            panic!("arguments are an object")
        };
        let value = args.shift_remove(alias.name).unwrap();
        alias.place(&mut args, value, &mut Findings::default())?;
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

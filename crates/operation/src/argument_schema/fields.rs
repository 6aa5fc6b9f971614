//! Validation of an object's fields: aliases, missing fields, unknown names and groups.

use serde_json::Value;

use super::{
    super::{
        JsonMap,
        schema::Quantity,
        time::{self, TimeRole},
        validation::{MAX_UNKNOWN_ARGUMENTS, UnknownFields},
    },
    ArgumentPath, ArgumentSchema, ArgumentWalk, FieldSchema, ObjectSchema, identifier,
    names::{self, MAX_NAME_BYTES, NormalizedName, did_you_mean},
    validate::{NullPolicy, TOO_MUCH_JSON_TEXT, quote_names, truncate_for_message},
};

/// Options that every list tool accepts beside its own arguments, and no other tool does.
const LIST_OPTIONS: [&str; 3] = ["fields", "all", "all_workspaces"];

impl ArgumentSchema {
    /// Returns the field of an object that another spelling of its name means. Returns `None` for the names of fields.
    pub(in super::super) fn find_meant_field(&self, name: &str) -> Option<&str> {
        match self {
            Self::Object(object) if !object.fields.iter().any(|field| field.name == name) => {
                object.find_meant_name(name)
            }
            _ => None,
        }
    }

    /// Returns true if `null` clears a field of an object, or if the field is not known.
    pub(in super::super) fn takes_null(&self, name: &str) -> bool {
        match self {
            Self::Object(object) => {
                let field = object.fields.iter().find(|field| field.name == name);
                field.is_none_or(|field| field.null_clears)
            }
            _ => true,
        }
    }
}

impl ObjectSchema {
    pub(super) fn coerce_and_validate(
        &self,
        map: &mut JsonMap,
        at: ArgumentPath<'_>,
        walk: &mut ArgumentWalk<'_>,
    ) {
        let is_known = |name: &String| self.fields.iter().any(|field| field.name == *name);
        if !map.keys().all(is_known) {
            self.resolve_names(map, at, walk);
        }
        for field in &self.fields {
            let here = ArgumentPath::Field(&at, &field.name);
            match map.get_mut(&field.name) {
                Some(Value::Null) if field.null_clears => {}
                Some(Value::Null) => {
                    if field.is_required {
                        map.shift_remove(&field.name);
                        walk.findings.add_error(here, "is required");
                    } else {
                        self.resolve_null(field, map, here, walk);
                    }
                }
                // Strict clients write all fields, and an empty text is no time.
                Some(Value::String(text))
                    if !field.is_required
                        && matches!(field.schema, ArgumentSchema::Time(_))
                        && text.trim().is_empty() =>
                {
                    map.shift_remove(&field.name);
                    walk.findings.add_omitted(here, "empty");
                }
                Some(value) => {
                    if field.is_identifier
                        && let Value::String(text) = value
                        && let Err(problem) = identifier::normalize(&field.name, text)
                    {
                        walk.findings.add_error(here, problem);
                        continue;
                    }
                    if field.is_secret {
                        if !walk.reserve_nested_json(value) {
                            walk.findings.add_error(here, TOO_MUCH_JSON_TEXT);
                            continue;
                        }
                        field.schema.normalize_references(value);
                    }
                    field.schema.coerce_and_validate(value, here, walk);
                }
                None if field.is_required => walk.findings.add_error(here, "is required"),
                None => {}
            }
        }
        self.validate_groups(map, at, walk);
        self.validate_ranges(map, at, walk);
    }

    /// Resolves a `null` in a field that it does not clear.
    fn resolve_null(
        &self,
        field: &FieldSchema,
        map: &mut JsonMap,
        at: ArgumentPath<'_>,
        walk: &mut ArgumentWalk<'_>,
    ) {
        match walk.null_policy {
            NullPolicy::Omit => {}
            NullPolicy::OmitWithWarning => walk.findings.add_omitted(at, "null"),
            NullPolicy::Reject => {
                let instead = match &field.schema {
                    ArgumentSchema::List { min: 0, .. } => {
                        "; give `[]` for an empty list, or leave it out"
                    }
                    _ => "; give a value, or leave it out to keep what is stored",
                };
                walk.findings
                    .add_error(at, format!("cannot be cleared by null{instead}"));
            }
        }
        map.shift_remove(&field.name);
    }

    /// Renames fields in another spelling to the known names that they mean. Accepts or rejects all
    /// other unknown names.
    fn resolve_names(&self, map: &mut JsonMap, at: ArgumentPath<'_>, walk: &mut ArgumentWalk<'_>) {
        let is_known = |name: &str| self.fields.iter().any(|field| field.name == name);
        let mut unknown: Vec<String> = map.keys().filter(|name| !is_known(name)).cloned().collect();
        // Where field names are not data, so many unknown ones are a mistake. The first ones
        // suffice to show it.
        let max_unknown = self.fields.len() + MAX_UNKNOWN_ARGUMENTS;
        if !self.accepts_any_name && unknown.len() > max_unknown {
            walk.findings.skip_names(unknown.len() - max_unknown);
            unknown.truncate(max_unknown);
        }
        let mut changes = NameChanges::default();
        for name in unknown {
            if matches!(at, ArgumentPath::Root) && names::is_client_key(&name) {
                // A client key that is also a field of the API is one of our known names in another
                // spelling.
                if self.find_meant_name(&name).is_none() {
                    walk.findings
                        .add_omitted(ArgumentPath::Field(&at, &name), "the client's own");
                    changes.removed.push(name);
                    continue;
                }
            }
            match self.find_meant_name(&name) {
                // Where any name is accepted, another spelling can mean a known name only if that
                // is missing.
                Some(known) if self.accepts_any_name && changes.has(map, known) => {}
                Some(known) => changes.rename(map, name, known, at, walk),
                None if self.accepts_any_name => {}
                None => self.handle_unknown_name(map, &changes, &name, at, walk),
            }
        }
        changes.apply(map);
    }

    /// Returns the one known name that another spelling means.
    fn find_meant_name(&self, name: &str) -> Option<&str> {
        let name = NormalizedName::new(name)?;
        let known = || self.fields.iter().map(|field| field.name.as_str());
        let mut same = known().filter(|known| name.matches(known));
        match (same.next(), same.next()) {
            (Some(only), None) => Some(only),
            // An ambiguous spelling means neither.
            (Some(_), Some(_)) => None,
            (None, _) if self.accepts_any_name => None,
            (None, _) => names::single_match(known().filter(|known| name.is_plural_of(known))),
        }
    }

    /// Handles a name that no known name is meant by.
    fn handle_unknown_name(
        &self,
        map: &JsonMap,
        changes: &NameChanges<'_>,
        name: &str,
        at: ArgumentPath<'_>,
        walk: &mut ArgumentWalk<'_>,
    ) {
        if !walk.findings.reserve_comparison() {
            walk.findings.skip_names(1);
            return;
        }
        let known = || self.fields.iter().map(|field| field.name.as_str());
        let shown = truncate_for_message(name);
        let here = ArgumentPath::Field(&at, &shown);
        if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            walk.findings.add_error(here, "no argument has such a name");
            return;
        }
        if matches!(at, ArgumentPath::Root) && LIST_OPTIONS.contains(&name) {
            walk.findings.add_error(
                here,
                "only tools that list take it; the answer of this one comes whole",
            );
            return;
        }
        // Errors report paths as `a.b`, and no field has such a name.
        let first = name.split(['.', '[']).next().unwrap_or_default();
        if first.len() < name.len() && self.has_spelling_of(first) {
            let message =
                format!("is a path; nest what it names: `{first}` is an argument of its own");
            walk.findings.add_error(here, message);
            return;
        }
        let missing = || known().filter(|known| !changes.has(map, known));
        let typo = missing().find(|known| names::is_typo_of(known, name));
        if let (Some(meant), true) = (typo, walk.options.unknown_fields != UnknownFields::Deny) {
            walk.findings
                .add_error(here, format!("no such argument, did you mean `{meant}`?"));
            return;
        }
        match walk.options.unknown_fields {
            UnknownFields::Deny => {
                if !walk.findings.can_report_error() {
                    walk.findings.skip_names(1);
                    return;
                }
                let hint = did_you_mean(name, known());
                // Of many unknown names, the first lists the known ones.
                let takes = match walk.findings.mark_listed(self) {
                    true if self.fields.is_empty() => "; it takes none".to_owned(),
                    true => format!("; it takes {}", quote_names(known())),
                    false => String::new(),
                };
                walk.findings
                    .add_error(here, format_args!("no such argument{hint}{takes}"));
            }
            UnknownFields::Warn | UnknownFields::Allow => {
                walk.findings
                    .add_unknown_argument(here, || did_you_mean(name, known()));
            }
        }
    }

    /// Returns true if a name is another spelling of one or more known names.
    fn has_spelling_of(&self, name: &str) -> bool {
        NormalizedName::new(name)
            .is_some_and(|name| self.fields.iter().any(|field| name.matches(&field.name)))
    }

    fn validate_groups(&self, map: &JsonMap, at: ArgumentPath<'_>, walk: &mut ArgumentWalk<'_>) {
        for (quantity, names) in &self.groups {
            let is_given = |name: &&String| map.get(*name).is_some_and(|value| !value.is_null());
            let given: Vec<_> = names.iter().filter(is_given).collect();
            if !quantity.allows(given.len()) {
                let names = quote_names(names.iter().map(String::as_str));
                let got = match given.as_slice() {
                    [] => "none".to_owned(),
                    given => quote_names(given.iter().map(|name| name.as_str())),
                };
                let quantity_text = quantity.as_str();
                if *quantity == Quantity::AtMostOneAdvised {
                    walk.findings.warn(format_args!(
                        "`{at}` takes {quantity_text} of {names} by Portkey's documents; {got} were passed on"
                    ));
                    continue;
                }
                let message = format!("takes {quantity_text} of {names}; got {got}");
                walk.findings.add_error(at, message);
            }
        }
    }

    /// Rejects a range that is empty or in the future. The API would answer it with zeros, which
    /// look like a result.
    fn validate_ranges(&self, map: &JsonMap, at: ArgumentPath<'_>, walk: &mut ArgumentWalk<'_>) {
        let time = |i: usize, role| {
            let name = &self.fields.get(i)?.name;
            let text = map.get(name)?.as_str()?;
            Some((
                name,
                time::parse(text, role, &walk.options.clock)?.timestamp(),
            ))
        };
        let mut found = Vec::new();
        for (start, end) in &self.ranges {
            let start = time(*start, TimeRole::Start);
            let end = time(*end, TimeRole::End);
            if let (Some((from, start)), Some((until, end))) = (start, end)
                && start > end
            {
                let message = format!("the range is reversed: it begins after `{until}` ends it");
                found.push((from, message));
            } else if let Some((from, start)) = start
                && start > walk.options.clock.now().timestamp()
            {
                let now = time::format_rfc3339(walk.options.clock.now().timestamp());
                found.push((
                    from,
                    format!("the range lies in the future; it is {now} now"),
                ));
            }
        }
        for (name, message) in found {
            walk.findings
                .add_error(ArgumentPath::Field(&at, name), message);
        }
    }
}

/// Changes of the names in an object. They are applied together, because each change moves all
/// later entries.
#[derive(Default)]
struct NameChanges<'a> {
    /// Names to replace, each with the known name that it means.
    renamed: Vec<(String, &'a str)>,
    removed: Vec<String>,
}

impl<'a> NameChanges<'a> {
    /// Returns true if an object has a known name, or gets it by a change.
    fn has(&self, map: &JsonMap, known: &str) -> bool {
        map.contains_key(known) || self.renamed.iter().any(|(_, meant)| *meant == known)
    }

    /// Renames a field to a known name, which is absent or has the same value.
    fn rename(
        &mut self,
        map: &JsonMap,
        name: String,
        known: &'a str,
        at: ArgumentPath<'_>,
        walk: &mut ArgumentWalk<'_>,
    ) {
        let earlier = self.renamed.iter().find(|(_, meant)| *meant == known);
        let source = earlier.map_or(known, |(name, _)| name);
        if let Some(value) = map.get(source) {
            if Some(value) != map.get(&name) {
                let message =
                    format_args!("is given twice with different values, as `{name}` and `{known}`");
                walk.findings
                    .add_error(ArgumentPath::Field(&at, known), message);
            }
            self.removed.push(name);
            return;
        }
        if !names::is_same_normalized(&name, known) {
            walk.findings
                .add_renamed(ArgumentPath::Field(&at, known), &name);
        }
        self.renamed.push((name, known));
    }

    fn apply(self, map: &mut JsonMap) {
        if self.renamed.is_empty() && self.removed.is_empty() {
            return;
        }
        // Renamed fields keep their places, so that the request has the caller's order.
        let new_name = |name: String| match self.renamed.iter().find(|(other, _)| *other == name) {
            Some((_, known)) => (*known).to_owned(),
            None => name,
        };
        let remaining = std::mem::take(map)
            .into_iter()
            .filter(|(name, _)| !self.removed.contains(name));
        *map = remaining
            .map(|(name, value)| (new_name(name), value))
            .collect();
    }
}

//! Validation of an object's fields: aliases, missing fields, unknown names and groups.

use serde_json::Value;

use super::{
    super::{
        JsonMap,
        time::{self, TimeRole},
        validation::{MAX_UNKNOWN, UnknownFields},
    },
    At, Field, Shape, Struct, Walk,
    names::{self, MAX_NAME_BYTES, Spelling, did_you_mean},
    validate::{Nulls, TOO_MUCH_TEXT, quoted, short},
};

/// Options that every list tool accepts beside its own arguments, and no other tool does.
const LIST_OPTIONS: [&str; 2] = ["fields", "all"];

impl Struct {
    pub(super) fn validate(&self, map: &mut JsonMap, at: At<'_>, walk: &mut Walk<'_>) {
        let is_known = |name: &String| self.fields.iter().any(|field| field.name == *name);
        if !map.keys().all(is_known) {
            self.settle_names(map, at, walk);
        }
        for field in &self.fields {
            let here = At::Field(&at, &field.name);
            match map.get_mut(&field.name) {
                Some(Value::Null) if field.null_clears => {}
                Some(Value::Null) => {
                    if field.required {
                        map.shift_remove(&field.name);
                        walk.findings.add(here, "is required");
                    } else {
                        self.settle_null(field, map, here, walk);
                    }
                }
                // Strict clients write all fields, and an empty text is no time.
                Some(Value::String(text))
                    if !field.required
                        && matches!(field.shape, Shape::Time(_))
                        && text.trim().is_empty() =>
                {
                    map.shift_remove(&field.name);
                    walk.findings.leave_out(here, "empty");
                }
                Some(value) => {
                    if field.secret {
                        if !walk.may_settle(value) {
                            walk.findings.add(here, TOO_MUCH_TEXT);
                            continue;
                        }
                        field.shape.settle_references(value);
                    }
                    field.shape.validate(value, here, walk);
                }
                None if field.required => walk.findings.add(here, "is required"),
                None => {}
            }
        }
        self.validate_groups(map, at, walk);
        self.validate_ranges(map, at, walk);
    }

    /// Resolves a `null` in a field that it does not clear.
    fn settle_null(&self, field: &Field, map: &mut JsonMap, at: At<'_>, walk: &mut Walk<'_>) {
        match walk.nulls {
            Nulls::LeaveOut => {}
            Nulls::LeaveOutTold => walk.findings.leave_out(at, "null"),
            Nulls::Refuse => {
                let instead = match &field.shape {
                    Shape::List { least: 0, .. } => {
                        "; give `[]` for an empty list, or leave it out"
                    }
                    _ => "; give a value, or leave it out to keep what is stored",
                };
                walk.findings
                    .add(at, format!("cannot be cleared by null{instead}"));
            }
        }
        map.shift_remove(&field.name);
    }

    /// Renames fields in another spelling to the known names that they mean. Accepts or rejects all
    /// other unknown names.
    fn settle_names(&self, map: &mut JsonMap, at: At<'_>, walk: &mut Walk<'_>) {
        let is_known = |name: &str| self.fields.iter().any(|field| field.name == name);
        let mut unknown: Vec<String> = map.keys().filter(|name| !is_known(name)).cloned().collect();
        // Where field names are not data, so many unknown ones are a mistake. The first ones
        // suffice to show it.
        let most = self.fields.len() + MAX_UNKNOWN;
        if !self.any_names && unknown.len() > most {
            walk.findings.pass_over(unknown.len() - most);
            unknown.truncate(most);
        }
        let mut changes = Changes::default();
        for name in unknown {
            if matches!(at, At::Root) && names::is_client_key(&name) {
                // A client key that is also a field of the API is one of our known names in another
                // spelling.
                if self.meant_by(&name).is_none() {
                    walk.findings
                        .leave_out(At::Field(&at, &name), "the client's own");
                    changes.removed.push(name);
                    continue;
                }
            }
            match self.meant_by(&name) {
                // Where any name is accepted, another spelling can mean a known name only if that
                // is missing.
                Some(known) if self.any_names && changes.has(map, known) => {}
                Some(known) => changes.take_as(map, name, known, at, walk),
                None if self.any_names => {}
                None => self.settle_unknown(map, &changes, &name, at, walk),
            }
        }
        changes.make(map);
    }

    /// Returns the one known name that another spelling means.
    fn meant_by(&self, name: &str) -> Option<&str> {
        let name = Spelling::of(name)?;
        let known = || self.fields.iter().map(|field| field.name.as_str());
        let mut same = known().filter(|known| name.means(known));
        match (same.next(), same.next()) {
            (Some(only), None) => Some(only),
            // An ambiguous spelling means neither.
            (Some(_), Some(_)) => None,
            (None, _) if self.any_names => None,
            (None, _) => names::only(known().filter(|known| name.is_plural_of(known))),
        }
    }

    /// Handles a name that no known name is meant by.
    fn settle_unknown(
        &self,
        map: &JsonMap,
        changes: &Changes<'_>,
        name: &str,
        at: At<'_>,
        walk: &mut Walk<'_>,
    ) {
        if !walk.findings.may_compare() {
            walk.findings.pass_over(1);
            return;
        }
        let known = || self.fields.iter().map(|field| field.name.as_str());
        let shown = short(name);
        let here = At::Field(&at, &shown);
        if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            walk.findings.add(here, "no argument has such a name");
            return;
        }
        if matches!(at, At::Root) && LIST_OPTIONS.contains(&name) {
            walk.findings.add(
                here,
                "only tools that list take it; the answer of this one comes whole",
            );
            return;
        }
        // Errors report paths as `a.b`, and no field has such a name.
        let first = name.split(['.', '[']).next().unwrap_or_default();
        if first.len() < name.len() && self.meant_exactly_by(first) {
            let message =
                format!("is a path; nest what it names: `{first}` is an argument of its own");
            walk.findings.add(here, message);
            return;
        }
        let lacking = || known().filter(|known| !changes.has(map, known));
        let slip = lacking().find(|known| names::is_slip_of(known, name));
        if let (Some(meant), true) = (slip, walk.options.unknown_fields != UnknownFields::Deny) {
            walk.findings
                .add(here, format!("no such argument, did you mean `{meant}`?"));
            return;
        }
        match walk.options.unknown_fields {
            UnknownFields::Deny => {
                if !walk.findings.tells_more() {
                    walk.findings.pass_over(1);
                    return;
                }
                let hint = did_you_mean(name, known());
                // Of many unknown names, the first lists the known ones.
                let takes = match walk.findings.lists_first(self) {
                    true if self.fields.is_empty() => "; it takes none".to_owned(),
                    true => format!("; it takes {}", quoted(known())),
                    false => String::new(),
                };
                walk.findings
                    .add(here, format_args!("no such argument{hint}{takes}"));
            }
            UnknownFields::Warn | UnknownFields::Allow => {
                walk.findings
                    .pass_unknown(here, || did_you_mean(name, known()));
            }
        }
    }

    /// Returns true if a name is another spelling of one or more known names.
    fn meant_exactly_by(&self, name: &str) -> bool {
        Spelling::of(name)
            .is_some_and(|name| self.fields.iter().any(|field| name.means(&field.name)))
    }

    fn validate_groups(&self, map: &JsonMap, at: At<'_>, walk: &mut Walk<'_>) {
        for (quantity, names) in &self.groups {
            let is_given = |name: &&String| map.get(*name).is_some_and(|value| !value.is_null());
            let given: Vec<_> = names.iter().filter(is_given).collect();
            if !quantity.allows(given.len()) {
                let names = quoted(names.iter().map(String::as_str));
                let got = match given.as_slice() {
                    [] => "none".to_owned(),
                    given => quoted(given.iter().map(|name| name.as_str())),
                };
                let message = format!("takes {} of {names}; got {got}", quantity.words());
                walk.findings.add(at, message);
            }
        }
    }

    /// Rejects a range that is empty or in the future. The API would answer it with zeros, which
    /// look like a result.
    fn validate_ranges(&self, map: &JsonMap, at: At<'_>, walk: &mut Walk<'_>) {
        let time = |i: usize, role| {
            let name = &self.fields.get(i)?.name;
            let text = map.get(name)?.as_str()?;
            Some((
                name,
                time::read(text, role, &walk.options.clock)?.timestamp(),
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
                let now = time::write(walk.options.clock.now().timestamp());
                found.push((
                    from,
                    format!("the range lies in the future; it is {now} now"),
                ));
            }
        }
        for (name, message) in found {
            walk.findings.add(At::Field(&at, name), message);
        }
    }
}

/// Changes of the names in an object. They are applied together, because each change moves all
/// later entries.
#[derive(Default)]
struct Changes<'a> {
    /// Names to replace, each with the known name that it means.
    renamed: Vec<(String, &'a str)>,
    removed: Vec<String>,
}

impl<'a> Changes<'a> {
    /// Returns true if an object has a known name, or gets it by a change.
    fn has(&self, map: &JsonMap, known: &str) -> bool {
        map.contains_key(known) || self.renamed.iter().any(|(_, meant)| *meant == known)
    }

    /// Renames a field to a known name, which is absent or has the same value.
    fn take_as(
        &mut self,
        map: &JsonMap,
        name: String,
        known: &'a str,
        at: At<'_>,
        walk: &mut Walk<'_>,
    ) {
        let earlier = self.renamed.iter().find(|(_, meant)| *meant == known);
        let source = earlier.map_or(known, |(name, _)| name);
        if let Some(value) = map.get(source) {
            if Some(value) != map.get(&name) {
                let message =
                    format_args!("is given twice with different values, as `{name}` and `{known}`");
                walk.findings.add(At::Field(&at, known), message);
            }
            self.removed.push(name);
            return;
        }
        if !names::same_folded(&name, known) {
            walk.findings.take_as(At::Field(&at, known), &name);
        }
        self.renamed.push((name, known));
    }

    fn make(self, map: &mut JsonMap) {
        if self.renamed.is_empty() && self.removed.is_empty() {
            return;
        }
        // Renamed fields keep their places, so that the request has the caller's order.
        let taken_as = |name: String| match self.renamed.iter().find(|(other, _)| *other == name) {
            Some((_, known)) => (*known).to_owned(),
            None => name,
        };
        let left = std::mem::take(map)
            .into_iter()
            .filter(|(name, _)| !self.removed.contains(name));
        *map = left.map(|(name, value)| (taken_as(name), value)).collect();
    }
}

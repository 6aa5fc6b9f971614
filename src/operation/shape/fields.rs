//! The fields of a struct: which are meant, which are missing, and what becomes of those that are not known.

use serde_json::Value;

use super::{
    super::{
        JsonMap,
        time::{self, TimeRole},
        validation::UnknownFields,
    },
    At, Field, Shape, Struct, Walk,
    names::{self, did_you_mean},
    validate::{Nulls, quoted, short},
};

/// What every list takes beside its own arguments, and nothing else does.
const LIST_OPTIONS: [&str; 2] = ["fields", "all"];

/// The longest name of a field that is not known, in bytes.
const MAX_NAME_BYTES: usize = 128;

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
                // Strict clients write all fields, and no time is written so.
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

    /// A `null` where it clears nothing.
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
                walk.findings.add(at, format!("cannot be cleared by null{instead}"));
            }
        }
        map.shift_remove(&field.name);
    }

    /// Takes names in another spelling as the known ones that they mean, and passes or refuses those that
    /// mean none.
    fn settle_names(&self, map: &mut JsonMap, at: At<'_>, walk: &mut Walk<'_>) {
        let is_known = |name: &str| self.fields.iter().any(|field| field.name == name);
        let unknown: Vec<String> = map.keys().filter(|name| !is_known(name)).cloned().collect();
        let mut list_known = true;
        for name in unknown {
            if matches!(at, At::Root) && names::is_client_key(&name) {
                // Where the API has such a field, its spelling is one of ours.
                if self.meant_by(&name).is_none() {
                    map.shift_remove(&name);
                    walk.findings.leave_out(At::Field(&at, &name), "the client's own");
                    continue;
                }
            }
            match self.meant_by(&name) {
                // Where any name is an argument, only one that is missing can be meant by another.
                Some(known) if self.any_names && map.contains_key(known) => {}
                Some(known) => settle_twin(map, &name, known, at, walk),
                None if self.any_names => {}
                None => self.settle_unknown(map, &name, at, &mut list_known, walk),
            }
        }
    }

    /// The one known name that another spelling means.
    fn meant_by(&self, name: &str) -> Option<&str> {
        let known = || self.fields.iter().map(|field| field.name.as_str());
        let twin = names::only(known().filter(|known| names::same_folded(known, name)));
        // Where the spelling is known twice, neither is meant.
        if known().any(|known| names::same_folded(known, name)) {
            return twin;
        }
        if self.any_names {
            return None;
        }
        names::only(known().filter(|known| names::is_plural_of(known, name)))
    }

    /// A name that no known one is meant by.
    fn settle_unknown(
        &self,
        map: &JsonMap,
        name: &str,
        at: At<'_>,
        list_known: &mut bool,
        walk: &mut Walk<'_>,
    ) {
        let known = || self.fields.iter().map(|field| field.name.as_str());
        let shown = short(name);
        let here = At::Field(&at, &shown);
        if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            walk.findings.add(here, "no argument has such a name");
            return;
        }
        if matches!(at, At::Root) && LIST_OPTIONS.contains(&name) {
            walk.findings
                .add(here, "only tools that list take it; the answer of this one comes whole");
            return;
        }
        // `a.b` is how paths are told, and no field is called so.
        let first = name.split(['.', '[']).next().unwrap_or_default();
        if first.len() < name.len() && known().any(|known| names::same_folded(known, first)) {
            let message =
                format!("is a path; nest what it names: `{first}` is an argument of its own");
            walk.findings.add(here, message);
            return;
        }
        let lacking = || known().filter(|known| !map.contains_key(*known));
        let slip = lacking().find(|known| names::is_slip_of(known, name));
        if let (Some(meant), true) = (slip, walk.options.unknown_fields != UnknownFields::Deny) {
            walk.findings.add(here, format!("no such argument, did you mean `{meant}`?"));
            return;
        }
        match walk.options.unknown_fields {
            UnknownFields::Deny => {
                let hint = did_you_mean(name, known());
                // Of many unknown names the first says what is known.
                let takes = match std::mem::take(list_known) {
                    true if self.fields.is_empty() => "; it takes none".to_owned(),
                    true => format!("; it takes {}", quoted(known())),
                    false => String::new(),
                };
                walk.findings.add(here, format!("no such argument{hint}{takes}"));
            }
            UnknownFields::Warn | UnknownFields::Allow => {
                walk.findings.pass_unknown(here, || did_you_mean(name, known()));
            }
        }
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

    /// A range that is empty or lies ahead is answered with zeros, which would pass for an answer.
    fn validate_ranges(&self, map: &JsonMap, at: At<'_>, walk: &mut Walk<'_>) {
        let time = |i: usize, role| {
            let name = &self.fields.get(i)?.name;
            let text = map.get(name)?.as_str()?;
            Some((name, time::read(text, role, &walk.options.clock)?.timestamp()))
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
                found.push((from, format!("the range lies in the future; it is {now} now")));
            }
        }
        for (name, message) in found {
            walk.findings.add(At::Field(&at, name), message);
        }
    }
}

/// Takes one name as another, which is not there or has the same value.
fn settle_twin(map: &mut JsonMap, name: &str, known: &str, at: At<'_>, walk: &mut Walk<'_>) {
    if map.contains_key(known) {
        if map.get(known) != map.get(name) {
            let message =
                format!("is given twice with different values, as `{name}` and `{known}`");
            walk.findings.add(At::Field(&at, known), message);
        }
        map.shift_remove(name);
        return;
    }
    if !names::same_folded(name, known) {
        walk.findings.take_as(At::Field(&at, known), name);
    }
    // In its place, so that what travels is in the caller's order.
    let renamed = std::mem::take(map).into_iter();
    *map = renamed
        .map(|(key, value)| (if key == name { known.to_owned() } else { key }, value))
        .collect();
}

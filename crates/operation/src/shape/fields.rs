//! The fields of a struct: which are meant, which are missing, and what becomes of those that are not known.

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

/// What every list takes beside its own arguments, and nothing else does.
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
                walk.findings
                    .add(at, format!("cannot be cleared by null{instead}"));
            }
        }
        map.shift_remove(&field.name);
    }

    /// Takes names in another spelling as the known ones that they mean, and passes or refuses those that
    /// mean none.
    fn settle_names(&self, map: &mut JsonMap, at: At<'_>, walk: &mut Walk<'_>) {
        let is_known = |name: &str| self.fields.iter().any(|field| field.name == name);
        let mut unknown: Vec<String> = map.keys().filter(|name| !is_known(name)).cloned().collect();
        // Where names are no data, so many are a mistake: the first ones show which.
        let most = self.fields.len() + MAX_UNKNOWN;
        if !self.any_names && unknown.len() > most {
            walk.findings.pass_over(unknown.len() - most);
            unknown.truncate(most);
        }
        let mut changes = Changes::default();
        for name in unknown {
            if matches!(at, At::Root) && names::is_client_key(&name) {
                // Where the API has such a field, its spelling is one of ours.
                if self.meant_by(&name).is_none() {
                    walk.findings
                        .leave_out(At::Field(&at, &name), "the client's own");
                    changes.removed.push(name);
                    continue;
                }
            }
            match self.meant_by(&name) {
                // Where any name is an argument, only one that is missing can be meant by another.
                Some(known) if self.any_names && changes.has(map, known) => {}
                Some(known) => changes.take_as(map, name, known, at, walk),
                None if self.any_names => {}
                None => self.settle_unknown(map, &changes, &name, at, walk),
            }
        }
        changes.make(map);
    }

    /// The one known name that another spelling means.
    fn meant_by(&self, name: &str) -> Option<&str> {
        let name = Spelling::of(name)?;
        let known = || self.fields.iter().map(|field| field.name.as_str());
        let mut same = known().filter(|known| name.means(known));
        match (same.next(), same.next()) {
            (Some(only), None) => Some(only),
            // Where the spelling is known twice, neither is meant.
            (Some(_), Some(_)) => None,
            (None, _) if self.any_names => None,
            (None, _) => names::only(known().filter(|known| name.is_plural_of(known))),
        }
    }

    /// A name that no known one is meant by.
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
        // `a.b` is how paths are told, and no field is called so.
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
                // Of many unknown names the first says what is known.
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

    /// Whether a name is a known one in another spelling, however many that are.
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

    /// A range that is empty or lies ahead is answered with zeros, which would pass for an answer.
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

/// What becomes of the names of an object, to be done at once: each change moves all that come after it.
#[derive(Default)]
struct Changes<'a> {
    /// Names that are taken as known ones, each with that.
    renamed: Vec<(String, &'a str)>,
    removed: Vec<String>,
}

impl<'a> Changes<'a> {
    /// Whether an object has a known name, or will have it.
    fn has(&self, map: &JsonMap, known: &str) -> bool {
        map.contains_key(known) || self.renamed.iter().any(|(_, meant)| *meant == known)
    }

    /// Takes one name as another, which is not there or has the same value.
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
        // In their places, so that what travels is in the caller's order.
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

//! What validating the arguments of a call finds: problems that stop it, and warnings that go with it.

use std::fmt;

#[cfg(debug_assertions)]
use super::Input;
use super::{JsonMap, extent::MAX_VALUES, time::Clock};

/// The most problems, and the most warnings of one kind, that one call is told.
const MAX_TOLD: usize = 20;
/// The most arguments that may be unknown: nobody means more, and rules of policies look at each.
pub(super) const MAX_UNKNOWN: usize = 100;
/// The same of parts of documents, which repeat: a field that is new stands in every target.
const MAX_UNKNOWN_PARTS: usize = 1_000;
/// Bound on all problems of one call as they are told, in bytes; the same for all warnings.
const MAX_TOLD_BYTES: usize = 12_000;
/// Bound on one problem or warning, in bytes. The longest list of names that an argument takes is shorter.
const MAX_TEXT_BYTES: usize = 3_000;
/// Bound on a path as it is told, in bytes.
const MAX_PLACE_BYTES: usize = 200;

/// How arguments that this version does not know are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// They are passed on as they are, and the answer says so.
    #[default]
    Warn,
    /// They are refused.
    Deny,
    /// They are passed on as they are.
    Allow,
}

/// What validation depends on beside the schema.
#[derive(Clone, Debug, Default)]
pub struct ValidationOptions {
    /// How unknown arguments are treated.
    pub unknown_fields: UnknownFields,
    /// What relative times are relative to.
    pub clock: Clock,
}

/// Arguments that may travel, and what has to be said of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validated {
    /// The arguments, in the form in which they travel.
    pub args: JsonMap,
    /// Paths of all arguments that this version does not know.
    pub unknown: Vec<String>,
    /// What the caller is told beside the answer.
    pub warnings: Vec<String>,
    /// Times that were written in another form than RFC 3339, by path, as they travel.
    pub times: Vec<(String, String)>,
}

/// One thing wrong with the arguments of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as in `models[0].pricing_config`; empty for the arguments as a whole.
    pub at: String,
    /// What is wrong there, and what would be right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.as_str() {
            "" => f.write_str(&self.what),
            at => write!(f, "`{at}`: {}", self.what),
        }
    }
}

/// What was found wrong with one call, in the order of the arguments: the first problems, and how many more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    first: Vec<Problem>,
    bytes: usize,
    more: usize,
}

impl Problems {
    fn add(&mut self, at: impl fmt::Display, what: impl fmt::Display) {
        if !self.has_room() {
            self.more += 1;
            return;
        }
        let problem = Problem {
            at: bounded(at, MAX_PLACE_BYTES),
            what: bounded(what, MAX_TEXT_BYTES),
        };
        self.bytes += problem.at.len() + problem.what.len();
        self.first.push(problem);
    }

    /// Whether one more would be told, and not only counted.
    const fn has_room(&self) -> bool {
        self.first.len() < MAX_TOLD && self.bytes < MAX_TOLD_BYTES - MAX_TEXT_BYTES
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// What was found, without what is only counted.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.first.iter()
    }
}

/// Everything found about the arguments of one call.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    problems: Problems,
    unknown: Vec<String>,
    unknown_count: usize,
    /// How many names were not looked at.
    passed_over: usize,
    /// What was likely meant by each unknown argument, in their order.
    hints: Vec<String>,
    /// The same of parts of documents, which have warnings of their own.
    unknown_parts: Vec<String>,
    unknown_part_count: usize,
    values: Vec<String>,
    left_out: Vec<(&'static str, Listed)>,
    taken_as: Vec<String>,
    warnings: Vec<String>,
    times: Vec<(String, String)>,
    /// How many names have been compared with all that are known.
    compared: usize,
    /// How many names and items there are in texts that were read as JSON.
    read: usize,
    /// Which lists of what is known have been told, by their addresses.
    listed: Vec<usize>,
}

/// The first of some paths, and how many more there are.
#[derive(Clone, Debug, Default)]
struct Listed {
    first: Vec<String>,
    more: usize,
}

impl Findings {
    /// Adds a problem, which stops the call.
    pub fn add(&mut self, at: impl fmt::Display, what: impl fmt::Display) {
        self.problems.add(at, what);
    }

    /// Adds a warning, which goes with the answer.
    pub fn warn(&mut self, text: impl fmt::Display) {
        if self.warnings.len() < MAX_TOLD {
            self.warnings.push(bounded(text, MAX_TEXT_BYTES));
        }
    }

    /// Whether one more problem would be told, and not only counted: what is dear to say is left out then.
    pub fn tells_more(&self) -> bool {
        self.problems.has_room()
    }

    /// Whether one more name that is not known may be compared with those that are, which is dear. A call
    /// that has more of them is refused.
    pub fn may_compare(&mut self) -> bool {
        self.compared += 1;
        self.compared <= MAX_UNKNOWN
    }

    /// Whether one more value of an open vocabulary would be told.
    pub(super) const fn tells_value(&self) -> bool {
        self.values.len() < MAX_TOLD
    }

    /// Whether a text that holds so many names and items may be read as JSON.
    pub(super) const fn may_read(&mut self, values: usize) -> bool {
        self.read = self.read.saturating_add(values);
        self.read <= MAX_VALUES
    }

    /// Whether a list of what is known is told for the first time in this call.
    pub(super) fn lists_first<T: ?Sized>(&mut self, known: &T) -> bool {
        let address = std::ptr::from_ref(known).addr();
        let is_first = !self.listed.contains(&address);
        if is_first {
            self.listed.push(address);
        }
        is_first
    }

    /// Names are passed over, because there are too many that are not known: the call is refused.
    pub(super) fn pass_over(&mut self, count: usize) {
        self.passed_over += count;
    }

    /// The problems so far.
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// An argument that is not known travels. `hint` is told where the call fails for another reason.
    pub(super) fn pass_unknown(&mut self, at: impl fmt::Display, hint: impl FnOnce() -> String) {
        if self.hints.len() < MAX_TOLD {
            self.hints.push(hint());
        }
        self.unknown_count += 1;
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.push(bounded(at, MAX_PLACE_BYTES));
        }
    }

    /// A part of a document that is not known travels, with a warning of its own. A document may have many of
    /// them: the same field in each of a hundred targets, for one.
    pub fn warn_of_unknown(&mut self, at: impl fmt::Display, text: impl fmt::Display) {
        self.unknown_part_count += 1;
        if self.unknown_parts.len() < MAX_UNKNOWN_PARTS {
            self.unknown_parts.push(bounded(at, MAX_PLACE_BYTES));
        }
        self.warn(text);
    }

    /// A value that an open vocabulary does not list travels.
    pub(super) fn pass_value(&mut self, at: impl fmt::Display, value: &str, hint: &str) {
        if self.tells_value() {
            let at = bounded(at, MAX_PLACE_BYTES);
            self.values.push(format!(
                "`{at}`: the value `{value}` is not known to this version and was passed on unchecked{hint}"
            ));
        }
    }

    /// An argument does not travel, for a reason that is no error.
    pub(super) fn leave_out(&mut self, at: impl fmt::Display, why: &'static str) {
        match self.left_out.iter_mut().find(|(known, _)| *known == why) {
            Some((_, listed)) => listed.add(at),
            None => {
                let mut listed = Listed::default();
                listed.add(at);
                self.left_out.push((why, listed));
            }
        }
    }

    /// An argument travels under the name that it most likely means.
    pub(super) fn take_as(&mut self, at: impl fmt::Display, name: &str) {
        if self.taken_as.len() < MAX_TOLD {
            let at = bounded(at, MAX_PLACE_BYTES);
            self.taken_as.push(format!("`{name}` was taken as `{at}`"));
        }
    }

    /// A time travels in another form than it was written in.
    pub(super) fn resolve_time(&mut self, at: impl fmt::Display, time: &str) {
        if self.times.len() < MAX_TOLD {
            self.times
                .push((bounded(at, MAX_PLACE_BYTES), time.to_owned()));
        }
    }

    /// The arguments with what is to be said of them, or what is wrong with them.
    pub(super) fn finish(
        mut self,
        args: JsonMap,
        mode: UnknownFields,
    ) -> Result<Validated, InputError> {
        let count = self.unknown_count + self.passed_over;
        // Whatever names were passed over may mean anything.
        if self.passed_over > 0 && mode == UnknownFields::Deny && !self.problems.is_empty() {
            self.problems.more += self.passed_over;
        } else if count > MAX_UNKNOWN {
            let what = format!("{count} arguments are not known; at most {MAX_UNKNOWN} may be");
            self.problems.add("", what);
        } else if self.passed_over > 0 {
            self.problems
                .add("", "too many names are not those of arguments");
        }
        if mode == UnknownFields::Deny {
            for at in &self.unknown_parts {
                self.problems.add(at, "is not known");
            }
            self.problems.more += self.unknown_part_count - self.unknown_parts.len();
        } else if self.unknown_part_count > MAX_UNKNOWN_PARTS {
            let count = self.unknown_part_count;
            let what = format!(
                "{count} parts of a document are not known; at most {MAX_UNKNOWN_PARTS} may be"
            );
            self.problems.add("", what);
        }
        if !self.problems.is_empty() {
            // What is missing was maybe given under a name that is not known.
            for (at, hint) in self.unknown.iter().zip(self.hints) {
                self.problems.add(at, format!("is not known{hint}"));
            }
            return Err(InputError(self.problems));
        }
        let mut warnings = Vec::new();
        if mode != UnknownFields::Allow {
            let mut listed = Listed::default();
            self.unknown.iter().for_each(|at| listed.add(at));
            warnings.extend(listed.describe(|names, is_one| {
                let (is, was) = if is_one {
                    ("is", "was")
                } else {
                    ("are", "were")
                };
                format!("{names} {is} not known to this version and {was} passed on unchecked")
            }));
            warnings.extend(self.values);
        }
        warnings.extend(self.left_out.iter().filter_map(|(why, listed)| {
            listed.describe(|names, _| format!("left out, because {why}: {names}"))
        }));
        warnings.extend(self.taken_as);
        warnings.extend(self.warnings);
        bound(&mut warnings);
        let mut unknown = self.unknown;
        unknown.extend(self.unknown_parts);
        Ok(Validated {
            args,
            unknown,
            warnings,
            times: self.times,
        })
    }
}

impl Listed {
    fn add(&mut self, at: impl fmt::Display) {
        if self.first.len() < MAX_TOLD {
            self.first.push(bounded(at, MAX_PLACE_BYTES));
        } else {
            self.more += 1;
        }
    }

    fn describe(&self, tell: impl FnOnce(&str, bool) -> String) -> Option<String> {
        let names: Vec<_> = self.first.iter().map(|name| format!("`{name}`")).collect();
        let mut text = names.join(", ");
        if self.more > 0 {
            text += &format!(" and {} more", self.more);
        }
        (!names.is_empty()).then(|| tell(&text, names.len() == 1))
    }
}

/// As much of a text as is told. A longer one is not written out beyond that, and says that it goes on.
fn bounded(text: impl fmt::Display, max: usize) -> String {
    struct Bounded {
        text: String,
        max: usize,
    }
    impl fmt::Write for Bounded {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            let left = self.max - self.text.len();
            match part.len() <= left {
                true => self.text.push_str(part),
                false => {
                    let end = part.floor_char_boundary(left);
                    self.text.push_str(part.get(..end).unwrap_or_default());
                    return Err(fmt::Error);
                }
            }
            Ok(())
        }
    }
    let mut bounded = Bounded {
        text: String::new(),
        max,
    };
    if fmt::write(&mut bounded, format_args!("{text}")).is_err() {
        bounded.text.push('…');
    }
    bounded.text
}

/// Leaves the first of some texts that are short enough together, and says how many more there are.
fn bound(texts: &mut Vec<String>) {
    let mut bytes = 0;
    let fits = |text: &&String| {
        bytes += text.len();
        bytes <= MAX_TOLD_BYTES
    };
    let kept = texts.iter().take_while(fits).count();
    let more = texts.len() - kept;
    if more > 0 {
        texts.truncate(kept);
        texts.push(format!("and {more} more warnings"));
    }
}

/// Why the arguments of a call are rejected: the reasons at once, for the caller to act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InputError(Problems);

impl InputError {
    /// One thing wrong.
    pub fn one(at: impl fmt::Display, what: impl fmt::Display) -> Self {
        let mut problems = Problems::default();
        problems.add(at, what);
        Self(problems)
    }

    /// The reasons.
    pub fn problems(&self) -> &Problems {
        &self.0
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first.as_slice() {
            [only] => only.fmt(f),
            several => {
                write!(f, "{} arguments are wrong:", several.len() + self.0.more)?;
                several
                    .iter()
                    .try_for_each(|problem| write!(f, "\n- {problem}"))?;
                match self.0.more {
                    0 => Ok(()),
                    more => write!(f, "\n- and {more} more"),
                }
            }
        }
    }
}

/// Asks the input type itself what it says of arguments that the schema let pass.
///
/// The schema is generated from the type, and so is `Deserialize`; they must agree. Where debug assertions
/// are on, and so in every test, each call is held against both. A release has the schema alone: asking
/// twice would be a seventh of our own machine code.
#[cfg(debug_assertions)]
pub(super) fn check<T: Input>(args: &JsonMap) -> Result<(), serde_json::Error> {
    T::deserialize(args).map(drop)
}

//! Results of validating the arguments of a call: errors, which stop it, and warnings, which
//! accompany the answer.

use std::fmt;

#[cfg(debug_assertions)]
use super::OperationInput;
use super::{JsonMap, size_limits::MAX_VALUES, time::Clock};

/// The maximum number of errors, and of warnings of one kind, that one call reports.
const MAX_MESSAGES: usize = 20;
/// The maximum number of unknown arguments. No caller means more, and policy rules examine each.
pub(super) const MAX_UNKNOWN_ARGUMENTS: usize = 100;
/// The maximum number of unknown parts of documents. They repeat: a new field is in every target.
const MAX_UNKNOWN_PARTS: usize = 1_000;
/// The maximum length of all errors of one call together, in bytes. All warnings have the same
/// limit.
const MAX_TOTAL_MESSAGE_BYTES: usize = 12_000;
/// The maximum length of one error or warning, in bytes. The longest list of accepted names is
/// shorter.
const MAX_MESSAGE_BYTES: usize = 3_000;
/// The maximum length of a reported path, in bytes.
const MAX_PATH_BYTES: usize = 200;

/// The treatment of arguments that this version does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// Sends them unchanged, and warns about them.
    #[default]
    Warn,
    /// Rejects the call.
    Deny,
    /// Sends them unchanged, without a warning.
    Allow,
}

/// Settings of validation beside the schema.
#[derive(Clone, Debug, Default)]
pub struct ValidationOptions {
    /// The treatment of unknown arguments.
    pub unknown_fields: UnknownFields,
    /// The clock that relative times refer to.
    pub clock: Clock,
}

/// Arguments that passed validation, with warnings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValidatedArguments {
    /// The arguments in the form in which they are sent.
    pub args: JsonMap,
    /// The paths of all arguments that this version does not know.
    pub unknown: Vec<String>,
    /// The warnings that accompany the answer.
    pub warnings: Vec<String>,
    /// The warnings about parts of fields that are cleared because they are not given. They do not apply to
    /// a call that was completed from the current state.
    pub cleared: Vec<String>,
    /// The times that were not written in RFC 3339: each path with the time that is sent.
    pub resolved_times: Vec<(String, String)>,
}

/// One invalid argument of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path, such as `models[0].pricing_config`. Empty for the arguments as a whole.
    pub path: String,
    /// A description of the problem and of a valid value.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            at => write!(f, "`{at}`: {}", self.message),
        }
    }
}

/// The errors of one call in the order of its arguments: the first ones, and the number of the
/// others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors {
    first: Vec<FieldError>,
    bytes: usize,
    omitted_count: usize,
    /// Number of entries in `first` that only state how many others were omitted.
    summaries: usize,
}

impl FieldErrors {
    /// Says how many problems of a kind there are; each is counted beside that.
    fn summarize(&mut self, what: String) {
        if self.has_capacity() {
            self.summaries += 1;
            self.add("", what);
        }
    }

    fn add(&mut self, at: impl fmt::Display, what: impl fmt::Display) {
        if !self.has_capacity() {
            self.omitted_count += 1;
            return;
        }
        let problem = FieldError {
            path: truncate_text(at, MAX_PATH_BYTES),
            message: truncate_text(what, MAX_MESSAGE_BYTES),
        };
        self.bytes += problem.path.len() + problem.message.len();
        self.first.push(problem);
    }

    /// Returns true if one more error would be reported, not only counted.
    const fn has_capacity(&self) -> bool {
        self.first.len() < MAX_MESSAGES && self.bytes < MAX_TOTAL_MESSAGE_BYTES - MAX_MESSAGE_BYTES
    }

    /// Returns true if there is no error.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Iterates over the reported errors, without those that are only counted.
    pub fn iter(&self) -> impl Iterator<Item = &FieldError> {
        self.first.iter()
    }
}

/// Everything that validation finds out about the arguments of one call.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    errors: FieldErrors,
    unknown: Vec<String>,
    unknown_count: usize,
    /// The number of names that were not examined.
    skipped_count: usize,
    /// A suggestion for each of the first unknown arguments, in their order.
    hints: Vec<String>,
    /// Unknown parts of documents, which have warnings of their own.
    unknown_parts: Vec<String>,
    unknown_part_count: usize,
    unknown_values: Vec<String>,
    omitted: Vec<(&'static str, PathSample)>,
    renamed: Vec<String>,
    warnings: Vec<String>,
    /// Warnings about parts that are cleared because they are not given.
    cleared: Vec<String>,
    resolved_times: Vec<(String, String)>,
    /// The number of unknown names that were compared with all known ones.
    comparisons: usize,
    /// The number of names and items in texts that were parsed as JSON.
    json_values: usize,
    /// The lists of known names that were reported already, by address.
    listed_vocabularies: Vec<usize>,
}

/// The first of some paths, and the number of the others.
#[derive(Clone, Debug, Default)]
struct PathSample {
    first: Vec<String>,
    omitted_count: usize,
}

impl Findings {
    /// Adds an error, which stops the call.
    pub fn add_error(&mut self, at: impl fmt::Display, what: impl fmt::Display) {
        self.errors.add(at, what);
    }

    /// Adds a warning, which accompanies the answer.
    pub fn warn(&mut self, text: impl fmt::Display) {
        if self.warnings.len() < MAX_MESSAGES {
            self.warnings.push(truncate_text(text, MAX_MESSAGE_BYTES));
        }
    }

    /// Adds a warning about parts of a field that are cleared because they are not given.
    pub fn warn_of_cleared(&mut self, text: impl fmt::Display) {
        if self.cleared.len() < MAX_MESSAGES {
            self.cleared.push(truncate_text(text, MAX_MESSAGE_BYTES));
        }
    }

    /// Returns true if one more error would be reported. Callers skip messages that are expensive
    /// to build otherwise.
    pub fn can_report_error(&self) -> bool {
        self.errors.has_capacity()
    }

    /// Reserves the comparison of one unknown name with all known ones, which is expensive.
    ///
    /// A call with more of them is rejected.
    pub fn reserve_comparison(&mut self) -> bool {
        self.comparisons += 1;
        self.comparisons <= MAX_UNKNOWN_ARGUMENTS
    }

    /// Returns true if one more value of an open vocabulary would be reported.
    pub(super) const fn can_report_value(&self) -> bool {
        self.unknown_values.len() < MAX_MESSAGES
    }

    /// Reserves so many names and items of a text that is to be parsed as JSON. Returns false
    /// beyond the maximum.
    pub(super) const fn reserve_json_values(&mut self, values: usize) -> bool {
        self.json_values = self.json_values.saturating_add(values);
        self.json_values <= MAX_VALUES
    }

    /// Marks a list of known names as reported. Returns true if it was not reported before in this
    /// call.
    pub(super) fn mark_listed<T: ?Sized>(&mut self, known: &T) -> bool {
        let address = std::ptr::from_ref(known).addr();
        let is_first = !self.listed_vocabularies.contains(&address);
        if is_first {
            self.listed_vocabularies.push(address);
        }
        is_first
    }

    /// Counts unknown names that are not examined because there are too many. The call is rejected.
    pub(super) fn skip_names(&mut self, count: usize) {
        self.skipped_count += count;
    }

    /// Returns the errors so far.
    pub fn errors(&self) -> &FieldErrors {
        &self.errors
    }

    /// Adds an unknown argument, which is sent. `hint` is reported if the call fails for another
    /// reason.
    pub(super) fn add_unknown_argument(
        &mut self,
        at: impl fmt::Display,
        hint: impl FnOnce() -> String,
    ) {
        if self.hints.len() < MAX_MESSAGES {
            self.hints.push(hint());
        }
        self.unknown_count += 1;
        if self.unknown.len() < MAX_UNKNOWN_ARGUMENTS {
            self.unknown.push(truncate_text(at, MAX_PATH_BYTES));
        }
    }

    /// Adds an unknown part of a document, which is sent, with a warning of its own.
    ///
    /// A document may have many of them, such as one new field in each of a hundred targets.
    pub fn warn_unknown_part(&mut self, at: impl fmt::Display, text: impl fmt::Display) {
        self.unknown_part_count += 1;
        if self.unknown_parts.len() < MAX_UNKNOWN_PARTS {
            self.unknown_parts.push(truncate_text(at, MAX_PATH_BYTES));
        }
        self.warn(text);
    }

    /// Adds the unknown parts of documents, and the warnings about them, that others found. Their
    /// errors are dropped.
    pub(super) fn adopt_unknown_parts(&mut self, other: Self) {
        self.unknown_part_count += other.unknown_part_count;
        self.unknown_parts.extend(other.unknown_parts);
        self.unknown_parts.truncate(MAX_UNKNOWN_PARTS);
        for warning in other.warnings {
            self.warn(warning);
        }
    }

    /// Adds a value that an open vocabulary lacks. The value is sent.
    pub(super) fn add_unknown_value(&mut self, at: impl fmt::Display, value: &str, hint: &str) {
        if self.can_report_value() {
            let at = truncate_text(at, MAX_PATH_BYTES);
            self.unknown_values.push(format!(
                "`{at}`: the value `{value}` is not known to this version and was passed on unchecked{hint}"
            ));
        }
    }

    /// Adds an argument that is not sent, for a reason that is not an error.
    pub(super) fn add_omitted(&mut self, at: impl fmt::Display, why: &'static str) {
        match self.omitted.iter_mut().find(|(known, _)| *known == why) {
            Some((_, listed)) => listed.add(at),
            None => {
                let mut listed = PathSample::default();
                listed.add(at);
                self.omitted.push((why, listed));
            }
        }
    }

    /// Adds an argument that is sent under the name that it most likely means.
    pub(super) fn add_renamed(&mut self, at: impl fmt::Display, name: &str) {
        if self.renamed.len() < MAX_MESSAGES {
            let at = truncate_text(at, MAX_PATH_BYTES);
            self.renamed.push(format!("`{name}` was taken as `{at}`"));
        }
    }

    /// Adds a time that is sent in another form than it was written in.
    pub(super) fn add_resolved_time(&mut self, at: impl fmt::Display, time: &str) {
        if self.resolved_times.len() < MAX_MESSAGES {
            self.resolved_times
                .push((truncate_text(at, MAX_PATH_BYTES), time.to_owned()));
        }
    }

    /// Returns the arguments with their warnings.
    ///
    /// # Errors
    /// Returns the errors if there are any, or if too many arguments are unknown.
    pub(super) fn finish(
        mut self,
        args: JsonMap,
        mode: UnknownFields,
    ) -> Result<ValidatedArguments, InputError> {
        let count = self.unknown_count + self.skipped_count;
        // Skipped names may mean any argument, so they are counted rather than reported.
        if self.skipped_count > 0 && mode == UnknownFields::Deny && !self.errors.is_empty() {
            self.errors.omitted_count += self.skipped_count;
        } else if count > MAX_UNKNOWN_ARGUMENTS {
            let what =
                format!("{count} arguments are not known; at most {MAX_UNKNOWN_ARGUMENTS} may be");
            self.errors.summarize(what);
            self.errors.omitted_count += count - self.hints.len();
        } else if self.skipped_count > 0 {
            self.errors
                .add("", "too many names are not those of arguments");
        }
        if mode == UnknownFields::Deny {
            for at in &self.unknown_parts {
                self.errors.add(at, "is not known");
            }
            self.errors.omitted_count += self.unknown_part_count - self.unknown_parts.len();
        } else if self.unknown_part_count > MAX_UNKNOWN_PARTS {
            let count = self.unknown_part_count;
            let what = format!(
                "{count} parts of a document are not known; at most {MAX_UNKNOWN_PARTS} may be"
            );
            self.errors.add("", what);
        }
        if !self.errors.is_empty() {
            // A missing argument may have been given under an unknown name.
            for (at, hint) in self.unknown.iter().zip(self.hints) {
                self.errors.add(at, format!("is not known{hint}"));
            }
            return Err(InputError(self.errors));
        }
        let mut warnings = Vec::new();
        if mode != UnknownFields::Allow {
            let mut listed = PathSample::default();
            self.unknown.iter().for_each(|at| listed.add(at));
            warnings.extend(listed.describe(|names, is_one| {
                let (is, was) = if is_one {
                    ("is", "was")
                } else {
                    ("are", "were")
                };
                format!("{names} {is} not known to this version and {was} passed on unchecked")
            }));
            warnings.extend(self.unknown_values);
        }
        warnings.extend(self.omitted.iter().filter_map(|(why, listed)| {
            listed.describe(|names, _| format!("left out, because {why}: {names}"))
        }));
        warnings.extend(self.renamed);
        warnings.extend(self.warnings);
        truncate_warnings(&mut warnings);
        let mut unknown = self.unknown;
        unknown.extend(self.unknown_parts);
        Ok(ValidatedArguments {
            args,
            unknown,
            warnings,
            cleared: self.cleared,
            resolved_times: self.resolved_times,
        })
    }
}

impl PathSample {
    fn add(&mut self, at: impl fmt::Display) {
        if self.first.len() < MAX_MESSAGES {
            self.first.push(truncate_text(at, MAX_PATH_BYTES));
        } else {
            self.omitted_count += 1;
        }
    }

    fn describe(&self, tell: impl FnOnce(&str, bool) -> String) -> Option<String> {
        let names: Vec<_> = self.first.iter().map(|name| format!("`{name}`")).collect();
        let mut text = names.join(", ");
        if self.omitted_count > 0 {
            text += &format!(" and {} more", self.omitted_count);
        }
        (!names.is_empty()).then(|| tell(&text, names.len() == 1))
    }
}

/// Formats a text up to a maximum length. A longer text ends in an ellipsis, and the rest is never
/// formatted.
fn truncate_text(text: impl fmt::Display, max: usize) -> String {
    struct BoundedWriter {
        text: String,
        max: usize,
    }
    impl fmt::Write for BoundedWriter {
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
    let mut bounded = BoundedWriter {
        text: String::new(),
        max,
    };
    if fmt::write(&mut bounded, format_args!("{text}")).is_err() {
        bounded.text.push('…');
    }
    bounded.text
}

/// Keeps the first warnings that fit together, and counts the others.
fn truncate_warnings(texts: &mut Vec<String>) {
    let mut bytes = 0;
    let fits = |text: &&String| {
        bytes += text.len();
        bytes <= MAX_TOTAL_MESSAGE_BYTES
    };
    let kept_count = texts.iter().take_while(fits).count();
    let more = texts.len() - kept_count;
    if more > 0 {
        texts.truncate(kept_count);
        texts.push(format!("and {more} more warnings"));
    }
}

/// The errors of a rejected call. They are reported together, so that the caller can correct all at
/// once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InputError(FieldErrors);

impl InputError {
    /// Creates an error about one argument.
    pub fn new(at: impl fmt::Display, what: impl fmt::Display) -> Self {
        let mut problems = FieldErrors::default();
        problems.add(at, what);
        Self(problems)
    }

    /// Returns the single errors.
    pub fn errors(&self) -> &FieldErrors {
        &self.0
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first.as_slice() {
            [only] => only.fmt(f),
            several => {
                let count = several.len() - self.0.summaries + self.0.omitted_count;
                write!(f, "{count} arguments are wrong:")?;
                several
                    .iter()
                    .try_for_each(|problem| write!(f, "\n- {problem}"))?;
                match self.0.omitted_count {
                    0 => Ok(()),
                    more => write!(f, "\n- and {more} more"),
                }
            }
        }
    }
}

/// Deserializes validated arguments as the input type, to compare both checks.
///
/// Schema and `Deserialize` are generated from the same type and must agree. With debug assertions,
/// and so in every test, each call is checked by both. A release uses the schema alone: the second
/// check would make up a seventh of our own machine code.
#[cfg(debug_assertions)]
pub(super) fn check_deserialize<T: OperationInput>(
    args: &JsonMap,
) -> Result<(), serde_json::Error> {
    T::deserialize(args).map(drop)
}

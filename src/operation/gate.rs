//! The gate: what turned arguments back, and in debug builds the type's own word on them.

use std::fmt;

#[cfg(debug_assertions)]
use super::{Input, JsonMap};

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

/// Everything found wrong with one call, in the order of the arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn add(&mut self, at: impl fmt::Display, what: impl fmt::Display) {
        self.0.push(Problem { at: at.to_string(), what: what.to_string() });
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Nothing wrong, or all of it as an error.
    pub(super) fn into_result(self) -> Result<(), InputError> {
        if self.0.is_empty() { Ok(()) } else { Err(InputError(self)) }
    }
}

/// Why the arguments of a call were turned back: every reason at once, for the caller to act on.
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
        match self.0.0.as_slice() {
            [only] => only.fmt(f),
            several => {
                write!(f, "{} arguments are wrong:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
            }
        }
    }
}

/// Asks the input type itself what it says of arguments that the shape let pass.
///
/// The shape is compiled from the type's schema, `Deserialize` from the type; they must agree. Where debug
/// assertions are on, and so in every test, each call is held against both. A release has the shape alone:
/// asking twice would be a seventh of our own machine code.
#[cfg(debug_assertions)]
pub(super) fn check<T: Input>(args: &JsonMap) -> Result<(), serde_json::Error> {
    T::deserialize(args).map(drop)
}

//! The variables of expressions.

use std::{collections::HashMap, sync::OnceLock, time::UNIX_EPOCH};

use cel::{
    common::{
        types::{CelBool, CelInt, CelList, CelMap, CelMapKey, CelString},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};

use super::{
    CLAIMS_VARIABLE, Expression,
    value::{self, ArgumentSize, borrow_value},
};
use crate::{ClaimsTooLarge, PolicyInput};

/// Variables of a call. The arguments are converted when an expression first reads them.
pub(crate) struct CallVariables<'a> {
    input: &'a PolicyInput<'a>,
    args: OnceLock<Box<dyn Val + 'a>>,
    claims: OnceLock<Box<dyn Val + 'a>>,
    size: OnceLock<ArgumentSize>,
}

impl<'a> CallVariables<'a> {
    pub(crate) fn new(input: &'a PolicyInput<'a>) -> Self {
        Self {
            input,
            args: OnceLock::new(),
            claims: OnceLock::new(),
            size: OnceLock::new(),
        }
    }

    /// Checks that the claims can be read.
    pub(super) fn check_claims(&self) -> Result<(), ClaimsTooLarge> {
        self.input.claims.visible().map(|_| ())
    }

    pub(super) fn argument_size(&self) -> &ArgumentSize {
        self.size
            .get_or_init(|| ArgumentSize::from_args(self.input.args))
    }
}

/// Variables of one expression.
pub(super) struct ExpressionScope<'s, 'a> {
    pub(super) expression: &'s Expression,
    pub(super) variables: &'s CallVariables<'a>,
    pub(super) counts: &'s [u64],
}

impl VariableResolver for ExpressionScope<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let input = self.variables.input;
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        match variable {
            "args" => {
                let args = self
                    .variables
                    .args
                    .get_or_init(|| value::to_cel_map(input.args));
                Some(borrow_value(args.as_ref()))
            }
            CLAIMS_VARIABLE => {
                let claims = self.variables.claims.get_or_init(|| {
                    // Claims that are too large were rejected before.
                    let visible = input.claims.visible().into_iter().flatten();
                    value::entries_to_cel_map(visible)
                });
                Some(borrow_value(claims.as_ref()))
            }
            "tool" | "prompt" | "resource" => text(input.target.name_as(variable)),
            "source" => {
                let address = input
                    .source
                    .map(|address| address.to_canonical().to_string());
                Some(CowVal::owned(CelString::from(address.unwrap_or_default())))
            }
            "domain" => text(input.target.domain()),
            "effect" => text(input.target.effect()),
            "principal" => text(input.principal),
            "client" => text(input.client.unwrap_or_default()),
            "transport" => text(input.transport.as_str()),
            "session" => text(input.session.unwrap_or_default()),
            "unknown_fields" => {
                let names = self.variables.input.unknown_fields.iter();
                let names = names
                    .map(|name| -> Box<dyn Val + 'b> { Box::new(CelString::from(name.as_str())) });
                Some(CowVal::owned(CelList::from(names.collect::<Vec<_>>())))
            }
            "tainted" => Some(CowVal::owned(CelBool::from(input.tainted))),
            "time" => {
                let since = input.time.duration_since(UNIX_EPOCH).unwrap_or_default();
                let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
                Some(CowVal::owned(CelInt::from(seconds)))
            }
            "counters" => {
                let values = self.expression.counters.iter().zip(self.counts);
                let entry = |(name, value): (&'b String, &u64)| {
                    let value = i64::try_from(*value).unwrap_or(i64::MAX);
                    let value: Box<dyn Val + 'b> = Box::new(CelInt::from(value));
                    (CelMapKey::from(name.as_str()), value)
                };
                let map: HashMap<_, _> = values.map(entry).collect();
                Some(CowVal::owned(CelMap::from(map)))
            }
            other => {
                let index: usize = other.strip_prefix('@')?.parse().ok()?;
                let pattern: &dyn Val = self.expression.patterns.get(index)?;
                Some(CowVal::Borrowed(pattern))
            }
        }
    }
}

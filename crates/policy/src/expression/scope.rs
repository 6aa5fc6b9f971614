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
    Expression,
    value::{self, Extent, borrowed},
};
use crate::Facts;

/// Variables of a call. The arguments are converted when an expression first reads them.
pub(crate) struct Variables<'a> {
    facts: &'a Facts<'a>,
    args: OnceLock<Box<dyn Val + 'a>>,
    extent: OnceLock<Extent>,
}

impl<'a> Variables<'a> {
    pub(crate) fn of(facts: &'a Facts<'a>) -> Self {
        Self {
            facts,
            args: OnceLock::new(),
            extent: OnceLock::new(),
        }
    }

    pub(super) fn extent(&self) -> &Extent {
        self.extent.get_or_init(|| Extent::of(self.facts.args))
    }
}

/// Variables of one expression.
pub(super) struct Scope<'s, 'a> {
    pub(super) expression: &'s Expression,
    pub(super) call: &'s Variables<'a>,
    pub(super) counted: &'s [u64],
}

impl VariableResolver for Scope<'_, '_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let facts = self.call.facts;
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        match variable {
            "args" => {
                let args = self.call.args.get_or_init(|| value::map(facts.args));
                Some(borrowed(args.as_ref()))
            }
            "tool" => text(facts.operation.name()),
            "domain" => text(facts.domain),
            "effect" => text(facts.operation.effect().as_str()),
            "principal" => text(facts.principal),
            "client" => text(facts.client.unwrap_or_default()),
            "transport" => text(facts.transport.as_str()),
            "session" => text(facts.session.unwrap_or_default()),
            "unknown_fields" => {
                let names = self.call.facts.unknown.iter();
                let names = names
                    .map(|name| -> Box<dyn Val + 'b> { Box::new(CelString::from(name.as_str())) });
                Some(CowVal::owned(CelList::from(names.collect::<Vec<_>>())))
            }
            "tainted" => Some(CowVal::owned(CelBool::from(facts.tainted))),
            "time" => {
                let since = facts.time.duration_since(UNIX_EPOCH).unwrap_or_default();
                let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
                Some(CowVal::owned(CelInt::from(seconds)))
            }
            "counters" => {
                let values = self.expression.counters.iter().zip(self.counted);
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

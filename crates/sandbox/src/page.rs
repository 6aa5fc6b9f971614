//! Pages and envelopes: how a list is cut, and what is wrapped around it.

use serde_json::{Value, json};

use super::{call::Call, refusal::Refusal, store::Item};

/// How a list is cut into pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paging {
    /// The query argument that numbers pages.
    pub(crate) number: &'static str,
    /// The number of the first page.
    pub(crate) first: usize,
    /// The query argument that sizes pages.
    pub(crate) size: &'static str,
    /// The size when none is asked for.
    pub(crate) usual: usize,
    /// The largest size that may be asked for.
    pub(crate) most: usize,
}

impl Paging {
    /// `current_page` from 0 up, as nearly everywhere.
    pub(crate) const fn zero_based(usual: usize, most: usize) -> Self {
        Self {
            number: "current_page",
            first: 0,
            size: "page_size",
            usual,
            most,
        }
    }

    /// `currentPage` from 0 up, as lists of people have it.
    pub(crate) const fn camel_case(usual: usize, most: usize) -> Self {
        Self {
            number: "currentPage",
            first: 0,
            size: "pageSize",
            usual,
            most,
        }
    }

    /// `page` from 1 up, as the MCP capability lists have it.
    pub(crate) const fn one_based(usual: usize, most: usize) -> Self {
        Self {
            number: "page",
            first: 1,
            size: "page_size",
            usual,
            most,
        }
    }

    /// The page of `all` that a call asks for, and whether there are more after it.
    pub(crate) fn cut<'a, T>(self, call: &Call, all: &'a [T]) -> Result<(&'a [T], bool), Refusal> {
        let number = call
            .number(self.number, self.first, usize::MAX)?
            .unwrap_or(self.first);
        let size = call.number(self.size, 1, self.most)?.unwrap_or(self.usual);
        let start = (number - self.first).saturating_mul(size).min(all.len());
        let rest = all.get(start..).unwrap_or_default();
        let (page, after) = rest.split_at(size.min(rest.len()));
        Ok((page, !after.is_empty()))
    }
}

/// What is wrapped around a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    /// Whether it calls itself a list.
    pub(crate) object: bool,
    /// Whether it says that there is more.
    pub(crate) has_more: bool,
}

impl Envelope {
    /// `{object, total, data}`, the usual one.
    pub(crate) const LIST: Self = Self {
        object: true,
        has_more: false,
    };
    /// `{object, total, has_more, data}`.
    pub(crate) const LIST_WITH_MORE: Self = Self {
        object: true,
        has_more: true,
    };

    /// The page in its envelope.
    pub(crate) fn wrap(self, total: usize, more: bool, page: Vec<Value>) -> Value {
        let mut answer = Item::new();
        if self.object {
            answer.insert("object".to_owned(), "list".into());
        }
        answer.insert("total".to_owned(), total.into());
        if self.has_more {
            answer.insert("has_more".to_owned(), more.into());
        }
        answer.insert("data".to_owned(), json!(page));
        Value::Object(answer)
    }
}

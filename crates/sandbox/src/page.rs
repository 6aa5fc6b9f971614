//! Paging of lists, and the envelopes of pages.

use serde_json::{Value, json};

use super::{call::Call, refusal::Refusal, store::Item};

/// Paging parameters of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paging {
    /// Query argument with the page number.
    pub(crate) number: &'static str,
    /// Number of the first page.
    pub(crate) first: usize,
    /// Query argument with the page size.
    pub(crate) size: &'static str,
    /// Default page size.
    pub(crate) usual: usize,
    /// Maximum page size.
    pub(crate) most: usize,
}

impl Paging {
    /// Pages by `current_page` from 0, as in most lists.
    pub(crate) const fn zero_based(usual: usize, most: usize) -> Self {
        Self {
            number: "current_page",
            first: 0,
            size: "page_size",
            usual,
            most,
        }
    }

    /// Pages by `currentPage` from 0, as in lists of users.
    pub(crate) const fn camel_case(usual: usize, most: usize) -> Self {
        Self {
            number: "currentPage",
            first: 0,
            size: "pageSize",
            usual,
            most,
        }
    }

    /// Pages by `page` from 1, as in lists of MCP capabilities.
    pub(crate) const fn one_based(usual: usize, most: usize) -> Self {
        Self {
            number: "page",
            first: 1,
            size: "page_size",
            usual,
            most,
        }
    }

    /// Returns the requested page of `all`, and whether there are more items after it.
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

/// Envelope of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    /// True if the envelope has `object: "list"`.
    pub(crate) object: bool,
    /// True if the envelope has `has_more`.
    pub(crate) has_more: bool,
}

impl Envelope {
    /// The default envelope: `{object, total, data}`.
    pub(crate) const LIST: Self = Self {
        object: true,
        has_more: false,
    };
    /// The envelope `{object, total, has_more, data}`.
    pub(crate) const LIST_WITH_MORE: Self = Self {
        object: true,
        has_more: true,
    };

    /// Wraps a page.
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

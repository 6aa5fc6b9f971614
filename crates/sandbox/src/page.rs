//! Paging of lists, and the envelopes of pages.

use serde_json::{Value, json};

use super::{api_error::ApiError, call::ApiCall, store::Item};

/// Paging parameters of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paging {
    /// Query argument with the page number.
    pub(crate) page_param: &'static str,
    /// Number of the first page.
    pub(crate) first_page: usize,
    /// Query argument with the page size.
    pub(crate) size_param: &'static str,
    /// Default page size.
    pub(crate) default_size: usize,
    /// Maximum page size.
    pub(crate) max_size: usize,
}

impl Paging {
    /// Pages by `current_page` from 0, as in most lists.
    pub(crate) const fn zero_based(default_size: usize, max_size: usize) -> Self {
        Self {
            page_param: "current_page",
            first_page: 0,
            size_param: "page_size",
            default_size,
            max_size,
        }
    }

    /// Pages by `currentPage` from 0, as in lists of users.
    pub(crate) const fn camel_case(default_size: usize, max_size: usize) -> Self {
        Self {
            page_param: "currentPage",
            first_page: 0,
            size_param: "pageSize",
            default_size,
            max_size,
        }
    }

    /// Pages by `page` from 1, as in lists of MCP capabilities.
    pub(crate) const fn one_based(default_size: usize, max_size: usize) -> Self {
        Self {
            page_param: "page",
            first_page: 1,
            size_param: "page_size",
            default_size,
            max_size,
        }
    }

    /// Returns the requested page of `all`, and whether there are more items after it.
    pub(crate) fn select_page<'a, T>(
        self,
        call: &ApiCall,
        all: &'a [T],
    ) -> Result<(&'a [T], bool), ApiError> {
        let number = call
            .number_in_range(self.page_param, self.first_page, usize::MAX)?
            .unwrap_or(self.first_page);
        let size = call
            .number_in_range(self.size_param, 1, self.max_size)?
            .unwrap_or(self.default_size);
        let start = (number - self.first_page)
            .saturating_mul(size)
            .min(all.len());
        let rest = all.get(start..).unwrap_or_default();
        let (page, after) = rest.split_at(size.min(rest.len()));
        Ok((page, !after.is_empty()))
    }
}

/// Envelope of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    /// True if the envelope has `object: "list"`.
    pub(crate) includes_object: bool,
    /// True if the envelope has `has_more`.
    pub(crate) includes_has_more: bool,
}

impl Envelope {
    /// The default envelope: `{object, total, data}`.
    pub(crate) const LIST: Self = Self {
        includes_object: true,
        includes_has_more: false,
    };
    /// The envelope `{object, total, has_more, data}`.
    pub(crate) const LIST_WITH_MORE: Self = Self {
        includes_object: true,
        includes_has_more: true,
    };

    /// Wraps a page.
    pub(crate) fn wrap(self, total: usize, more: bool, page: Vec<Value>) -> Value {
        let mut answer = Item::new();
        if self.includes_object {
            answer.insert("object".to_owned(), "list".into());
        }
        answer.insert("total".to_owned(), total.into());
        if self.includes_has_more {
            answer.insert("has_more".to_owned(), more.into());
        }
        answer.insert("data".to_owned(), json!(page));
        Value::Object(answer)
    }
}

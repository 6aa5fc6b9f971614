//! Lists as workflows read them: page by page, with what an upstream has and did not return.

use std::collections::BTreeSet;

use portkey_operation::{InputError, JsonMap};
use serde_json::Value;

use super::{PartialAnswer, Steps, redacted_answer};
use crate::pipeline::CallError;

/// Maximum number of pages that are read of one list. Several lists fit into the steps of a workflow.
const MAX_PAGES: u64 = 8;

/// Items of a list.
pub(super) struct List {
    operation: &'static str,
    pub(super) items: Vec<Value>,
    /// Number of items according to the upstream, if it tells one.
    total: Option<u64>,
    /// Paths of the fields that a policy redacted. Empty but for lists that are read partly.
    pub(super) redacted: BTreeSet<String>,
}

impl List {
    /// Reads a list without pages.
    pub(super) async fn read(
        steps: &Steps,
        operation: &'static str,
        args: JsonMap,
    ) -> Result<Self, CallError> {
        let list = Self::read_partly(steps, operation, args).await?;
        list.require_all_fields()
    }

    /// Reads a list without pages, whatever a policy redacts of it.
    async fn read_partly(
        steps: &Steps,
        operation: &'static str,
        args: JsonMap,
    ) -> Result<Self, CallError> {
        let PartialAnswer {
            value: mut answer,
            redacted,
        } = steps.read_partly(operation, args).await?;
        let total = answer.get("total").and_then(Value::as_u64);
        // Portkey's specification shows some lists bare.
        let items = match answer.get_mut("data") {
            Some(data) => data.take(),
            None => answer,
        };
        Ok(Self {
            operation,
            items: match items {
                Value::Array(items) => items,
                _ => Vec::new(),
            },
            total,
            redacted,
        })
    }

    /// Reads the pages of a list, numbered from zero.
    pub(super) async fn read_pages(
        steps: &Steps,
        operation: &'static str,
        args: JsonMap,
    ) -> Result<Self, CallError> {
        let list = Self::read_pages_partly(steps, operation, args).await?;
        list.require_all_fields()
    }

    /// Reads the pages of a list, whatever a policy redacts of them.
    pub(super) async fn read_pages_partly(
        steps: &Steps,
        operation: &'static str,
        mut args: JsonMap,
    ) -> Result<Self, CallError> {
        let mut list = Self::read_partly(steps, operation, args.clone()).await?;
        // The first page shows the default size. Another size might be above the maximum.
        args.insert("page_size".to_owned(), list.items.len().into());
        for number in 1..MAX_PAGES {
            if list.is_complete() {
                break;
            }
            args.insert("current_page".to_owned(), number.into());
            let next = Self::read_partly(steps, operation, args.clone()).await?;
            list.redacted.extend(next.redacted);
            let page = next.items;
            // An upstream without pages returns the first one again.
            if page.first() == list.items.first() {
                break;
            }
            if page.is_empty() {
                // The total may count items that the search excludes.
                list.total = None;
            }
            list.items.extend(page);
        }
        Ok(list)
    }

    /// Requires a list of which no policy redacted a field.
    fn require_all_fields(self) -> Result<Self, CallError> {
        match self.redacted.is_empty() {
            true => Ok(self),
            false => Err(redacted_answer(self.operation, &self.redacted).into()),
        }
    }

    fn is_complete(&self) -> bool {
        // Nothing follows an empty page, whatever the total counts.
        self.items.is_empty()
            || self
                .total
                .is_none_or(|total| total <= self.items.len() as u64)
    }

    /// Requires a list that shows that it does not have an item.
    ///
    /// # Errors
    /// Returns an error if the upstream has items that it did not return.
    pub(super) fn require_complete(&self, item: &str) -> Result<(), InputError> {
        if self.is_complete() {
            return Ok(());
        }
        let Self {
            operation, items, ..
        } = self;
        let what = format!(
            "`{operation}` returned {} of {} items, and {item} is not among them; it may be among the others. \
             Make the calls yourself, with ids instead of names",
            items.len(),
            self.total.unwrap_or_default()
        );
        Err(InputError::new("", what))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use portkey_operation::Clock;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;
    use crate::workflows::{StepAnswer, arguments};

    struct Case {
        /// Number of items that the upstream tells and that it returns.
        total: u64,
        count: u64,
        /// Maximum size of a page.
        max: u64,
        /// False for an upstream that returns the first page always.
        has_pages: bool,
        items: usize,
        requests: u64,
        is_complete: bool,
    }

    /// Reads a list of numbers from an upstream.
    async fn read_numbers(case: &Case) -> (List, u64) {
        let &Case {
            total,
            count: stored,
            max,
            has_pages,
            ..
        } = case;
        let (requests, mut steps) = mpsc::channel(1);
        let steps_of_workflow = Steps {
            requests,
            clock: Clock::system(),
            redacted: Vec::new(),
        };
        let answer_all = async move {
            let mut count = 0;
            while let Some(step) = steps.recv().await {
                count += 1;
                let number = |name: &str| step.args.get(name).and_then(Value::as_u64);
                let size = number("page_size").unwrap_or(max);
                let page = number("current_page").filter(|_| has_pages).unwrap_or(0);
                let first = (page * size).min(stored);
                let items: Vec<u64> = (first..(first + size).min(stored)).collect();
                let answer = json!({ "total": total, "data": items });
                _ = step.reply.send(Ok(StepAnswer::Answered(answer)));
            }
            count
        };
        let read = async move {
            let args = arguments([("search", "a".into())]);
            List::read_pages(&steps_of_workflow, "list-labels", args)
                .await
                .unwrap()
        };
        tokio::join!(read, answer_all)
    }

    #[tokio::test]
    async fn pages_are_read_to_the_end_or_the_maximum() {
        let whole = Case {
            total: 3,
            count: 3,
            max: 100,
            has_pages: true,
            items: 3,
            requests: 1,
            is_complete: true,
        };
        for case in [
            Case {
                total: 0,
                count: 0,
                items: 0,
                ..whole
            },
            Case {
                count: 0,
                items: 0,
                ..whole
            },
            Case {
                total: 9,
                requests: 2,
                ..whole
            },
            Case {
                max: 2,
                requests: 2,
                ..whole
            },
            Case {
                total: 100,
                count: 100,
                max: 2,
                items: 16,
                requests: 8,
                is_complete: false,
                ..whole
            },
            Case {
                max: 2,
                has_pages: false,
                items: 2,
                requests: 2,
                is_complete: false,
                ..whole
            },
            whole,
        ] {
            let (list, requests) = read_numbers(&case).await;
            assert_eq!(
                (
                    list.items.len(),
                    requests,
                    list.require_complete("x").is_ok()
                ),
                (case.items, case.requests, case.is_complete),
                "{} by {}",
                case.total,
                case.max
            );
        }
    }
}

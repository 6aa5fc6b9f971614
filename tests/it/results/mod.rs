//! Results: truncation, reading the rest, and uniform lists.

mod collection;
mod handles;
mod incomplete_lists;
mod lists;
mod pages;
mod preview;

use std::time::Duration;

use portkey_mcp::mcp::results::{RenderedResult, ResultContent, ResultFlags, Results};
use serde_json::Value;

/// A result that may be stored.
const STORABLE: ResultFlags = ResultFlags {
    is_untrusted: false,
    returns_secret: false,
};

fn results_with_limit(most: usize) -> Results {
    Results::new(Some(most), ResultContent::Both, Duration::from_secs(60))
}

/// Returns the handle of a truncated result.
fn handle_of(shown: &RenderedResult) -> String {
    let handle = &shown.structured["truncated"]["handle"];
    handle
        .as_str()
        .unwrap_or_else(|| panic!("{}", shown.text))
        .to_owned()
}

fn json_size(value: &Value) -> usize {
    value.to_string().len()
}

/// Runs a future to its end, because property tests are synchronous.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

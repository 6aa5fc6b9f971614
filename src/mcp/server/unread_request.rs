//! Errors for requests that rmcp cannot parse: malformed ones and those of unknown methods.

use rmcp::{ErrorData, model::ErrorCode};

/// Maximum length of a method name that an error repeats, in characters.
const MAX_METHOD_CHARS: usize = 100;

/// Methods whose malformed parameters would otherwise be reported as an unknown method.
const METHOD_PARAMETERS: &[(&str, &str)] = &[
    ("completion/complete", "`ref` and `argument` are objects"),
    ("prompts/get", "`name` is a text, and `arguments` an object"),
    ("prompts/list", "`cursor` is a text"),
    ("resources/list", "`cursor` is a text"),
    ("resources/read", "`uri` is a text"),
    ("resources/templates/list", "`cursor` is a text"),
    ("subscriptions/listen", "`notifications` is an object"),
    ("tools/call", "`arguments` is an object"),
    ("tools/list", "`cursor` is a text"),
];

/// Returns the error for a request of a method that cannot be parsed.
pub(super) fn unread_request_error(method: &str) -> ErrorData {
    match METHOD_PARAMETERS.iter().find(|(known, _)| *known == method) {
        Some((_, what)) => {
            let what = format!("the parameters of {method} are malformed; {what}");
            ErrorData::invalid_params(what, None)
        }
        None => {
            let shown: String = method.chars().take(MAX_METHOD_CHARS).collect();
            let what = format!("there is no method {shown}");
            ErrorData::new(ErrorCode::METHOD_NOT_FOUND, what, None)
        }
    }
}

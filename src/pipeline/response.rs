//! Turns an upstream's response into the caller's result: parses it, sanitizes it and masks
//! secrets.

use portkey_concurrency::worker_pool::{MAX_INLINE_BYTES, WorkerPool};
use portkey_operation::Operation;
use serde_json::Value;

use super::Answer;
use crate::{
    security::{
        sanitize,
        secrets::{CallSecrets, CleanJson, SecretDelivery},
    },
    upstream::{UpstreamError, UpstreamResponse},
};

/// A response as received, with what is needed to finish it.
pub(super) struct RawResponse {
    pub(super) response: UpstreamResponse,
    pub(super) operation: &'static Operation,
    pub(super) delivery: SecretDelivery,
}

impl RawResponse {
    /// Returns true if finishing the response would block a serving thread for too long.
    pub(super) fn is_large(&self) -> bool {
        self.response.body_len() > MAX_INLINE_BYTES
    }

    /// Returns the result for the caller.
    ///
    /// # Errors
    /// Returns the upstream's error if the response is one.
    pub(super) fn finish(self, fetched: &CallSecrets) -> Result<Answer, UpstreamError> {
        let body = self.response.body();
        if self.response.status().is_success()
            && let Some(json) = CleanJson::from_response(self.operation, fetched, &body)
        {
            return Ok(Answer::Clean(Box::new(json)));
        }
        self.finish_as_document(fetched).map(Answer::Document)
    }

    /// Returns the result for the caller as a document.
    fn finish_as_document(self, fetched: &CallSecrets) -> Result<Value, UpstreamError> {
        let Self {
            response: answer,
            operation,
            delivery: handover,
        } = self;
        let body = answer.body();
        let plain = sanitize::as_clean_ascii(&body);
        let text = plain.or_else(|| str::from_utf8(&body).ok());
        let mut answer = answer.into_result_of(text)?;
        // Sanitized before secrets are masked, because invisible characters could hide a key.
        if plain.is_none() {
            sanitize::sanitize_value(&mut answer);
        }
        handover.mask_and_deliver(operation, fetched, plain, &mut answer);
        Ok(answer)
    }

    /// Finishes the response by `finish` on a worker thread. The upstream has already been called,
    /// so this waits for a worker without a timeout.
    pub(super) async fn finish_on_worker<T: Send + 'static>(
        self,
        workers: &WorkerPool,
        fetched: CallSecrets,
        finish: impl FnOnce(Self, &CallSecrets) -> Result<T, UpstreamError> + Send + 'static,
    ) -> (Result<T, UpstreamError>, CallSecrets) {
        let finish = move || {
            let outcome = finish(self, &fetched);
            (outcome, fetched)
        };
        workers.run_finishing(finish).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::cell::Cell;

    use http::{HeaderMap, StatusCode};
    use portkey_api::catalog::Catalog;
    use proptest::{prelude::*, sample::select};

    use super::*;

    const NAMES: [&str; 28] = [
        "id",
        "name",
        "value",
        "key",
        "header",
        "slug",
        "api_key",
        "masked_key",
        "token",
        "total_tokens",
        "authorization",
        "metadata",
        "configurations",
        "auth_config",
        "data",
        "models",
        "secret_mappings",
        "password",
        "custom_headers",
        "signed_url",
        "success",
        "error",
        "message",
        "total",
        "caf\u{e9}",
        "a\u{200b}b",
        "a\\u0062",
        "pk-planted0123456789abcdef0123",
    ];

    /// Values as an upstream may write them. The first half is clean in an ordinary place.
    const VALUES: [&str; 46] = [
        "null",
        "true",
        "false",
        "0",
        "-7",
        "12",
        "999999999999999999",
        "0.5",
        "1.25",
        "-0.001",
        r#""""#,
        r#""a word""#,
        r#""sk*****001""#,
        r#""***""#,
        r#""a \"quoted\" one\\ \n\t""#,
        r#""53845412-7b09-4000-8000-000000000007""#,
        "\"caf\u{e9} \u{1f600}\"",
        r#""task-force""#,
        r#""https://user@example.com/a:b""#,
        "[]",
        "{}",
        "18446744073709551615",
        // Written otherwise, or no JSON at all.
        "1.50",
        "-0",
        "1e5",
        "1E+5",
        "1e400",
        "01",
        "18446744073709551616",
        "0.1000000000000000055511151231257827",
        "tru",
        r#""\u0041""#,
        r#""\/""#,
        r#""\ud800""#,
        r#""\u202e""#,
        "\"a\u{202e}b\"",
        "\"a\u{7f}\"",
        "\"a\u{1}\"",
        r#""\r""#,
        " 1 ",
        "",
        // Secrets.
        r#""sk-planted0123456789abcdef0123456789abcdef""#,
        r#""see https://user:planted@example.com/""#,
        r#""[{\"password\":\"planted\"}]""#,
        r#""Bearer planted0123456789planted""#,
        r#""-----BEGIN PRIVATE KEY-----\nplanted""#,
    ];

    fn json() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            3 => select(&VALUES[..22]),
            1 => select(VALUES.as_slice()),
        ];
        let name = prop_oneof![
            9 => select(&NAMES[..24]),
            1 => select(NAMES.as_slice()),
        ];
        let separator = || prop_oneof![30 => Just(","), 1 => Just(", "), 1 => Just(",\n")];
        value
            .prop_map(str::to_owned)
            .prop_recursive(4, 20, 5, move |inner| {
                let item = inner.clone();
                let field =
                    (name.clone(), inner).prop_map(|(name, value)| format!("\"{name}\":{value}"));
                prop_oneof![
                    (prop::collection::vec(item, 0..4), separator())
                        .prop_map(|(items, comma)| format!("[{}]", items.join(comma))),
                    (prop::collection::vec(field, 0..5), separator())
                        .prop_map(|(fields, comma)| format!("{{{}}}", fields.join(comma))),
                ]
            })
    }

    /// Bodies of upstreams: documents, some of them deep or followed by something.
    fn body() -> impl Strategy<Value = String> {
        let depth = prop_oneof![20 => Just(0_usize), 1 => 90..140_usize];
        let rest =
            prop_oneof![20 => Just(""), 1 => select(["\n", " ", "}", "x", "\u{feff}"].as_slice())];
        (json(), depth, rest).prop_map(|(json, depth, rest)| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!("{open}{json}{close}{rest}")
        })
    }

    fn response(operation: &'static Operation, body: &str) -> RawResponse {
        let body = body.to_owned().into();
        RawResponse {
            response: UpstreamResponse::new(StatusCode::OK, &HeaderMap::new(), body),
            operation,
            delivery: SecretDelivery::Nothing,
        }
    }

    /// Compares a clean answer with the document that the same response becomes.
    fn check_clean(json: &CleanJson, document: &Value) -> Result<(), TestCaseError> {
        prop_assert_eq!(json.as_str(), document.to_string());
        prop_assert_eq!(&json.clone().into_document(), document);
        let empty = portkey_operation::JsonMap::new();
        let fields = document.as_object().unwrap_or(&empty);
        let shown: Vec<_> = json
            .fields()
            .map(|field| (field.name, field.value.to_owned()))
            .collect();
        let expected: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_string()))
            .collect();
        prop_assert_eq!(shown, expected);
        let names = fields.keys().map(|name| Some(name.as_str()));
        for name in names.chain([None]) {
            let value = name.map_or(document, |name| &document[name]);
            let list = json.clone().into_list(name);
            prop_assert_eq!(list.is_ok(), value.is_array());
            if let Ok(list) = list {
                prop_assert_eq!(list.as_str(), value.to_string());
                let items: Vec<_> = list.iter().map(str::to_owned).collect();
                let expected: Vec<_> = value
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(Value::to_string)
                    .collect();
                prop_assert_eq!((list.len(), items), (expected.len(), expected));
            }
        }
        Ok(())
    }

    #[test]
    fn clean_text_is_what_the_document_would_be_written_as() {
        let operations: Vec<_> = Catalog::operations().collect();
        let clean = Cell::new(0);
        let cases = (body(), any::<prop::sample::Index>());
        let config = ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        proptest!(config, |((body, index) in cases)| {
            let operation = *index.get(&operations);
            let fetched = CallSecrets::default();
            match response(operation, &body).finish(&fetched) {
                Ok(Answer::Clean(json)) => {
                    clean.set(clean.get() + 1);
                    let document = response(operation, &body).finish_as_document(&fetched);
                    check_clean(&json, &document.unwrap())?;
                }
                Ok(Answer::Document(_)) | Err(_) => {}
            }
        });
        assert!(clean.get() > 1_000, "only {} were clean", clean.get());
    }

    #[test]
    fn ordinary_answers_are_clean() {
        let operation = Catalog::operations().find(|it| it.name() == "list-all-integrations");
        let bodies = [
            r#"{"object":"list","total":1,"data":[{"id":"53845412-7b09-4000-8000-000000000007","slug":"a","note":"caf\u00e9"}]}"#
                .replace(r"\u00e9", "\u{e9}"),
            r#"[{"cost":0.125,"key":"sk*****001","success":false}]"#.to_owned(),
            r#"{"success":true,"text":"a\nb \"c\"","list":[[],{}]}"#.to_owned(),
        ];
        for body in bodies {
            let answer = response(operation.unwrap(), &body).finish(&CallSecrets::default());
            assert!(matches!(answer, Ok(Answer::Clean(_))), "{body}");
        }
        for body in [r#"{"success":false}"#, r#"{"error":{}}"#] {
            let answer = response(operation.unwrap(), body).finish(&CallSecrets::default());
            assert!(answer.is_err(), "{body}");
        }
    }

    #[test]
    fn secret_of_the_call_is_never_in_a_clean_answer() {
        let operation = Catalog::operations().find(|it| it.name() == "list-all-integrations");
        for secret in ["planted \"one\"\nof lines", "planted\\two", "31415926535"] {
            let fetched = CallSecrets::default().with_request_keys([secret].into_iter());
            for value in [
                serde_json::json!(secret),
                serde_json::json!(format!("x{secret}x")),
            ] {
                let body = serde_json::json!({ "data": [value] }).to_string();
                let answer = response(operation.unwrap(), &body)
                    .finish(&fetched)
                    .unwrap();
                assert!(matches!(answer, Answer::Document(_)), "{body}");
            }
        }
    }
}

//! A write with an unknown outcome stays counted; one that did not happen is not counted.

use portkey_file_watch::WatchedValue;
use portkey_mcp::pipeline::CallError;
use serde_json::json;

use super::*;
use crate::support::upstream::{
    MockUpstream, ResponseAction, dispatcher, http_response, json_response, operator,
};

/// Response of an upstream to a write, and whether the write may have taken effect.
struct Case {
    what: &'static str,
    act: fn() -> ResponseAction,
    is_counted: bool,
}

const HTML: &str = "<html>gateway</html>";

const CASES: [Case; 15] = [
    Case {
        what: "200",
        act: || json_response("{}"),
        is_counted: true,
    },
    Case {
        what: "200 with HTML",
        act: || http_response("200 OK", "", HTML),
        is_counted: true,
    },
    Case {
        what: "201 cut short",
        act: || {
            ResponseAction::Write(b"HTTP/1.1 201 Created\r\ncontent-length: 9\r\n\r\n{".to_vec())
        },
        is_counted: true,
    },
    Case {
        what: "408",
        act: || http_response("408 Request Timeout", "", "{}"),
        is_counted: true,
    },
    Case {
        what: "500",
        act: || http_response("500 Internal Server Error", "", "{}"),
        is_counted: true,
    },
    Case {
        what: "502",
        act: || http_response("502 Bad Gateway", "", HTML),
        is_counted: true,
    },
    Case {
        what: "504",
        act: || http_response("504 Gateway Timeout", "", HTML),
        is_counted: true,
    },
    Case {
        what: "no answer",
        act: || ResponseAction::Drop,
        is_counted: true,
    },
    Case {
        what: "more than fits",
        act: || ResponseAction::Flood(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), 11),
        is_counted: true,
    },
    Case {
        what: "400",
        act: || http_response("400 Bad Request", "", "{}"),
        is_counted: false,
    },
    Case {
        what: "401",
        act: || http_response("401 Unauthorized", "", "{}"),
        is_counted: false,
    },
    Case {
        what: "403 with HTML",
        act: || http_response("403 Forbidden", "", HTML),
        is_counted: false,
    },
    Case {
        what: "404",
        act: || http_response("404 Not Found", "", "{}"),
        is_counted: false,
    },
    Case {
        what: "409",
        act: || http_response("409 Conflict", "", "{}"),
        is_counted: false,
    },
    Case {
        what: "429",
        act: || http_response("429 Too Many Requests", "", "{}"),
        is_counted: false,
    },
];

/// Once a day: by the number of calls, and by the sum of an argument.
const LIMITS: [&str; 2] = [
    "version: '1'\nrules: [{ name: few, limits: [{ max: 1, window: day }] }]",
    "version: '1'\nrules: [{ name: few, limits: [{ max: 5, window: day, increment_from: args.credit_limit }] }]",
];

#[tokio::test]
async fn write_with_unknown_outcome_stays_counted() {
    for limits in LIMITS {
        for Case {
            what,
            act,
            is_counted,
        } in CASES
        {
            let upstream = MockUpstream::start(move |_| act()).await;
            let dispatcher =
                dispatcher(&upstream).with_policy(WatchedValue::fixed(parse_policy(limits)));
            let call = async || {
                let conditions = json!([{ "key": "metadata._user", "value": "*" }]);
                let args = json!({
                    "name": "n", "type": "cost", "credit_limit": 5, "conditions": conditions,
                });
                let args = args.as_object().unwrap().clone();
                dispatcher
                    .call_as_local(&operator(), "create-usage-limits-policy", args)
                    .await
            };
            let first = call().await;
            assert!(
                !matches!(
                    first,
                    Err(CallError::InvalidArguments(_) | CallError::PolicyDenied(_))
                ),
                "{first:?}"
            );
            let second = call().await;
            let is_denied = matches!(second, Err(CallError::PolicyDenied(_)));
            assert_eq!(
                is_denied, is_counted,
                "{what} under {limits}: {first:?}, then {second:?}"
            );
            assert_eq!(
                upstream.count(),
                if is_counted { 1 } else { 2 },
                "{what} under {limits}"
            );
        }
    }
}

/// The request reached no server, so nothing happened.
#[tokio::test]
async fn write_that_was_never_sent_is_not_counted() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", free.local_addr().unwrap());
    drop(free);
    let mut settings = crate::support::upstream::settings(&url);
    settings.retries.max_retries = 0;
    let client = portkey_mcp::upstream::UpstreamClient::new(settings);
    let dispatcher = portkey_mcp::pipeline::Dispatcher::new(Catalog::full(), client);
    let dispatcher = dispatcher.with_policy(WatchedValue::fixed(parse_policy(LIMITS[0])));
    for _ in 0..3 {
        let args = json!({ "name": "n" }).as_object().unwrap().clone();
        let outcome = dispatcher
            .call_as_local(&operator(), "create-label", args)
            .await;
        assert!(matches!(outcome, Err(CallError::Send(_))), "{outcome:?}");
    }
}

/// A client that disconnects does not know the outcome either.
#[tokio::test]
async fn aborted_write_stays_counted() {
    let upstream = MockUpstream::start(|_| ResponseAction::Hang).await;
    let dispatcher =
        dispatcher(&upstream).with_policy(WatchedValue::fixed(parse_policy(LIMITS[0])));
    let call = async || {
        let args = json!({ "name": "n" }).as_object().unwrap().clone();
        dispatcher
            .call_as_local(&operator(), "create-label", args)
            .await
    };
    tokio::select! {
        outcome = call() => panic!("it was answered: {outcome:?}"),
        () = upstream.wait_for_requests(1) => {}
    }
    let second = call().await;
    assert!(
        matches!(second, Err(CallError::PolicyDenied(_))),
        "{second:?}"
    );
    assert_eq!(upstream.count(), 1);
}

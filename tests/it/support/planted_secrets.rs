//! Secrets in every field of calls and of responses.

use std::fs;

use portkey_api::catalog::Catalog;
use portkey_operation::JsonMap;
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::support::upstream::{MockUpstream, http_response, json_response};

/// Generates a secret, with or without the prefix of a known issuer.
fn any_secret() -> impl Strategy<Value = String> {
    let alphabet: Vec<char> = ('a'..='z')
        .chain('A'..='Z')
        .chain('0'..='9')
        .chain(['-', '_'])
        .collect();
    let begin = select(vec!["", "sk-", "pk-", "eyJ", "AKIA", "ghp_"]);
    (begin, vec(select(alphabet), 33..64))
        .prop_map(|(begin, rest)| begin.to_owned() + &String::from_iter(rest))
}

pub(crate) fn random_secrets(count: usize) -> Vec<String> {
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    (0..count)
        .map(|_| any_secret().new_tree(&mut runner).unwrap().current())
        .collect()
}

/// Returns the first example call of every tool, with the secret in each secret field.
pub(crate) fn calls_with_secret(secret: &str) -> Vec<(&'static str, Value)> {
    let catalog = Catalog::full();
    let mut calls = Vec::new();
    for entry in catalog.iter() {
        let tool = entry.operation.name();
        let shown = fs::read_to_string(format!("tests/data/calls/{tool}.json")).unwrap();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let mut args: JsonMap = shown[0]["arguments"].as_object().unwrap().clone();
        let mut planted = 0;
        let plant = |_: &dyn std::fmt::Display, _, value: &mut Value| {
            *value = json!(secret);
            planted += 1;
            Ok::<_, ()>(())
        };
        entry.compiled().visit_secrets(&mut args, plant).unwrap();
        // An invalid call as well, so that it is rejected.
        if planted > 0 {
            calls.push((
                tool,
                json!({ "key": secret, "config": [secret], "auth_config": secret }),
            ));
        }
        if planted > 0
            || !entry.operation.secret_fields().is_empty()
            || !entry.operation.one_time_secrets().is_empty()
        {
            calls.push((tool, args.into()));
        }
    }
    assert!(calls.len() > 30, "{}", calls.len());
    calls
}

/// Returns a response with the secret in every field where an upstream could return one.
fn body_with_secret(secret: &str) -> String {
    let below =
        json!({ "key": secret, "api_key": secret, "note": secret, "list": [secret], secret: 1 });
    json!({
        "id": secret, "key": secret, "invite_link": secret, "signed_url": secret, "client_auth": secret,
        "data": [below], "config": below, "message": secret, "configurations": below,
    })
    .to_string()
}

fn error_with_secret(secret: &str) -> String {
    let inner =
        json!({ "message": format!("wrong key {secret}"), "errorCode": secret, "detail": secret });
    json!({ "success": false, "data": inner }).to_string()
}

pub(crate) async fn start_leaking_upstream(secrets: &[String]) -> MockUpstream {
    let secrets = secrets.to_vec();
    MockUpstream::start(move |before| {
        let secret = &secrets[before % secrets.len()];
        match before % 4 {
            0 | 1 => json_response(&body_with_secret(secret)),
            2 => http_response(
                "400 Bad Request",
                "content-type: application/json\r\n",
                &error_with_secret(secret),
            ),
            _ => http_response("403 Forbidden", "content-type: text/html\r\n", secret),
        }
    })
    .await
}

//! Comparison of sent requests with the API's records, or else with the calls in this repository.

use std::{collections::HashMap, fs};

use portkey_operation::{ApiBase, JsonMap, Operation};
use reqwest::Url;
use serde_json::Value;

use crate::{
    records,
    support::{generated::UPDATE_COMMAND, upstream::ReceivedRequest},
};

/// The part of a request that carries an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArgumentLocation {
    Path,
    Query,
    Header,
    Body,
    /// Not sent: the server uses it.
    Local,
    /// The argument is the whole body.
    WholeBody,
}

/// An argument that arrived outside the body.
struct ArrivedArgument {
    name: String,
    location: ArgumentLocation,
    text: String,
}

/// An endpoint, described independently of the operation's declaration.
pub(super) struct Endpoint {
    method: String,
    /// The path from the root of the host, with `{placeholders}`.
    path: String,
    places: HashMap<String, ArgumentLocation>,
    /// Arguments and the headers that carry them.
    headers: &'static [(&'static str, &'static str)],
    /// Arguments that are sent although a call leaves them out.
    defaults: &'static [(&'static str, &'static str)],
}

impl Endpoint {
    /// Returns the endpoint of a record.
    pub(super) fn from_record(operation: &Operation, record: &Value) -> Self {
        let base = Url::parse(record["base"].as_str().unwrap()).unwrap();
        let path = records::snake_case_placeholders(record["path"].as_str().unwrap());
        let mut places: HashMap<_, _> = operation
            .placeholders()
            .map(|name| (name.to_owned(), ArgumentLocation::Path))
            .collect();
        let query = record["query_params"].as_array().into_iter().flatten();
        places.extend(query.map(|q| {
            (
                q["name"].as_str().unwrap().to_owned(),
                ArgumentLocation::Query,
            )
        }));
        for (name, _) in record["body"]["properties"]
            .as_object()
            .into_iter()
            .flatten()
        {
            // An argument that is recorded in query and body may travel in either.
            if places.insert(name.clone(), ArgumentLocation::Body) == Some(ArgumentLocation::Query)
            {
                places.remove(name);
            }
        }
        if let Some(list) = records::body_argument(operation.name()) {
            places.insert(list.to_owned(), ArgumentLocation::WholeBody);
        }
        Self {
            method: record["method"].as_str().unwrap().to_owned(),
            path: format!("{}{path}", base.path().trim_end_matches('/')),
            places: with_headers_and_local(operation, places),
            headers: operation.header_arguments(),
            defaults: operation.default_arguments(),
        }
    }

    /// Returns the endpoint of the calls under `tests/data/calls`. The location of an argument that
    /// none of them has is unknown.
    pub(super) fn from_calls(operation: &Operation) -> Self {
        let file = format!("tests/data/calls/{}.json", operation.name());
        let text = fs::read_to_string(&file).unwrap_or_else(|_| {
            panic!(
                "{file} is missing: write `[{{\"arguments\": {{…}}}}]`, then run `{UPDATE_COMMAND}`"
            )
        });
        let calls: Vec<Value> = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{file} cannot be read: {error}"));
        let mut places: HashMap<_, _> = operation
            .placeholders()
            .map(|name| (name.to_owned(), ArgumentLocation::Path))
            .collect();
        let mut method = String::new();
        for call in &calls {
            let Some(line) = call["sends"]["line"].as_str() else {
                continue;
            };
            let (verb, target) = line.split_once(' ').unwrap();
            method = verb.to_owned();
            let queried = parse_target(target);
            for name in call["arguments"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
            {
                let place = match &call["sends"]["body"] {
                    _ if places.get(name) == Some(&ArgumentLocation::Path) => {
                        ArgumentLocation::Path
                    }
                    _ if queried.query_pairs().any(|(queried, _)| queried == *name) => {
                        ArgumentLocation::Query
                    }
                    Value::Array(_) => ArgumentLocation::WholeBody,
                    body if *body == call["arguments"][name] => ArgumentLocation::WholeBody,
                    Value::Object(body) if body.contains_key(name) => ArgumentLocation::Body,
                    _ => continue,
                };
                places.insert(name.clone(), place);
            }
        }
        let base = match operation.base() {
            ApiBase::ControlPlane | ApiBase::Gateway => "/v1",
            ApiBase::ControlPlaneV2 => "/v2",
            ApiBase::Registry => "/v0.1",
            ApiBase::Catalogue | ApiBase::PriceLists | ApiBase::Enkrypt => "",
        };
        Self {
            method,
            path: format!("{base}{}", operation.path()),
            places: with_headers_and_local(operation, places),
            headers: operation.header_arguments(),
            defaults: operation.default_arguments(),
        }
    }

    /// Returns the arguments whose location is unknown, so that it is not compared.
    pub(super) fn unknown_locations<'a>(
        &self,
        arguments: &'a JsonMap,
    ) -> impl Iterator<Item = &'a String> {
        arguments
            .keys()
            .filter(|name| !self.places.contains_key(*name))
    }

    /// Lists the faults of a request that carries these arguments.
    pub(super) fn faults(&self, seen: &ReceivedRequest, arguments: &JsonMap) -> Vec<String> {
        let mut faults = Vec::new();
        if seen.method != self.method {
            faults.push(format!("{} instead of {}", seen.method, self.method));
        }
        let url = parse_target(&seen.target);
        let mut words = url.path().split('/');
        let mut arrived = Vec::new();
        for expected in self.path.split('/') {
            let word = percent_decode(words.next().unwrap_or_default());
            match expected.split_once('{') {
                Some((_, name)) => {
                    // `{provider}.json` is a placeholder with a suffix.
                    let (name, tail) = name.split_once('}').unwrap();
                    let value = word.strip_suffix(tail).unwrap_or_default().to_owned();
                    arrived.push(ArrivedArgument {
                        name: name.to_owned(),
                        location: ArgumentLocation::Path,
                        text: value,
                    });
                }
                None if word == expected => {}
                None => faults.push(format!("{} instead of {}", url.path(), self.path)),
            }
        }
        if words.next().is_some() {
            faults.push(format!("{} is longer than {}", url.path(), self.path));
        }
        let pairs = url.query_pairs();
        arrived.extend(pairs.map(|(name, value)| ArrivedArgument {
            name: name.into(),
            location: ArgumentLocation::Query,
            text: value.into(),
        }));
        for (name, header) in self.headers {
            let value = seen.header(header).map(str::to_owned);
            arrived.extend(value.map(|text| ArrivedArgument {
                name: (*name).to_owned(),
                location: ArgumentLocation::Header,
                text,
            }));
        }
        let body: Value = match seen.body.as_slice() {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).unwrap(),
        };
        let is_whole = arguments.iter().any(|(name, value)| {
            self.places.get(name) == Some(&ArgumentLocation::WholeBody) && *value == body
        });
        let fields = body.as_object().filter(|_| !is_whole);
        let mut in_body = fields.cloned().unwrap_or_default();
        let local = |name: &String| self.places.get(name) == Some(&ArgumentLocation::Local);
        for (name, value) in arguments.iter().filter(|(name, _)| !local(name)) {
            let texts: Vec<_> = arrived.extract_if(.., |one| one.name == *name).collect();
            let there: Vec<_> = texts.iter().map(|one| one.location).collect();
            let written = texts
                .iter()
                .map(|one| one.text.as_str())
                .collect::<Vec<_>>();
            let (place, same) = match (in_body.shift_remove(name), written.as_slice()) {
                (Some(found), []) => (ArgumentLocation::Body, found == *value),
                (None, []) if body == *value => (ArgumentLocation::WholeBody, true),
                (None, [text]) => (there[0], text_represents(text, value)),
                // A list may travel as one argument for each item.
                (None, [_, ..]) if value.is_array() => (there[0], written == item_texts(value)),
                (_, texts) => {
                    faults.push(format!("`{name}` arrived {} times", texts.len()));
                    continue;
                }
            };
            if !same {
                faults.push(format!("`{name}` is not {value}"));
            }
            if self
                .places
                .get(name)
                .is_some_and(|expected| *expected != place)
            {
                faults.push(format!("`{name}` arrived in {place:?}"));
            }
        }
        let unexpected = arrived.iter().map(|one| &one.name).chain(in_body.keys());
        let is_default = |name: &&String| self.defaults.iter().any(|(known, _)| *known == **name);
        let unexpected = unexpected.filter(|name| !is_default(name));
        faults.extend(unexpected.map(|name| format!("`{name}` was never given")));
        faults
    }
}

/// Adds the arguments that travel in headers or are not sent.
fn with_headers_and_local(
    operation: &Operation,
    mut places: HashMap<String, ArgumentLocation>,
) -> HashMap<String, ArgumentLocation> {
    let headers = operation.header_arguments().iter();
    places.extend(headers.map(|(name, _)| ((*name).to_owned(), ArgumentLocation::Header)));
    let local = records::local_arguments(operation.name());
    places.extend(local.map(|name| (name.to_owned(), ArgumentLocation::Local)));
    places
}

fn parse_target(target: &str) -> Url {
    Url::parse(&format!("http://wire{target}")).unwrap()
}

fn percent_decode(word: &str) -> String {
    percent_encoding::percent_decode_str(word)
        .decode_utf8()
        .unwrap()
        .into_owned()
}

/// Checks if a text in a URL represents a value.
fn text_represents(text: &str, value: &Value) -> bool {
    match value {
        Value::String(value) => text == value,
        Value::Array(_) => text == item_texts(value).join(","),
        _ => serde_json::from_str::<Value>(text).is_ok_and(|read| read == *value),
    }
}

fn item_texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .map(|item| {
            item.as_str()
                .map_or_else(|| item.to_string(), str::to_owned)
        })
        .collect()
}

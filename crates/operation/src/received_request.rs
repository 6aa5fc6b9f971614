//! Requests that an HTTP client built itself for the endpoint of an operation.
//!
//! Their arguments are read for policies, secrets and the audit log. The query and the body travel
//! as they came, so that fields which this version does not know, nulls and the order of fields
//! stay.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{
    BodyKind, CompiledOperation, Effect, Findings, InputError, JsonMap, Operation, UnknownFields,
    UpstreamRequest, ValidatedArguments, ValidationOptions,
    argument_schema::{ArgumentWalk, NullPolicy},
    markers::OR_LIST,
    path_segment,
    size_limits::{self, MAX_VALUES, measure_json},
    unique_json::UniqueJson,
    upstream_request::MAX_TARGET_BYTES,
};

/// The arguments of a request that a client built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReceivedArguments {
    /// The arguments by name, wherever they travel.
    pub args: JsonMap,
    /// Names in the query or the body that are also in the path, with another value. The argument
    /// of that name is the one in the path.
    pub shadowed: Vec<String>,
}

impl CompiledOperation {
    /// Reads the arguments of a request: the decoded values of the path's placeholders, the query
    /// and the body.
    ///
    /// # Errors
    /// Returns an error if a value cannot be a path segment, the path is that of another operation,
    /// the body is not what the operation takes, or a part of the request can be read in two ways.
    pub fn read_received_arguments(
        &self,
        path_values: &[String],
        query: &str,
        body: &[u8],
    ) -> Result<ReceivedArguments, InputError> {
        let mut reader = ArgumentReader {
            published: self,
            received: ReceivedArguments::default(),
            path_names: self.operation().placeholders().collect(),
        };
        reader.read_path(path_values)?;
        self.reject_other_paths(path_values)?;
        reader.read_query(query)?;
        reader.read_body(body)?;
        Ok(reader.received)
    }

    /// Examines the arguments of a request that is sent as it came: parses texts where the schema
    /// has a number, an object or a list, and finds the fields that this version does not know.
    ///
    /// Names keep their spelling, because the request does. Arguments that are invalid by the
    /// schema pass: the upstream decides about them.
    ///
    /// # Errors
    /// Returns an error if the arguments exceed a size limit, or if unknown fields are denied and
    /// there are some.
    pub fn examine_received_arguments(
        &self,
        received: ReceivedArguments,
        options: &ValidationOptions,
    ) -> Result<ValidatedArguments, InputError> {
        let ReceivedArguments { mut args, shadowed } = received;
        size_limits::check(&args).map_err(|excess| InputError::new("", excess))?;
        let mut findings = Findings::default();
        let mut walk = ArgumentWalk {
            options,
            null_policy: NullPolicy::Omit,
            findings: &mut findings,
        };
        for name in &shadowed {
            walk.report_unknown_name(name);
        }
        self.argument_schema()
            .examine_arguments(&mut args, &mut walk);
        if let Some(rule) = self.operation().rule {
            // The rule finds unknown parts of documents, and errors, which do not count here.
            let mut parts = Findings::default();
            rule(&args, &mut parts);
            findings.adopt_unknown_parts(parts);
        }
        findings.finish(args, options.unknown_fields)
    }

    /// Builds the upstream request of a request that is sent as it came. It has no body; the caller
    /// adds the one that was received.
    ///
    /// # Errors
    /// Returns an error if a value cannot be a path segment, if the path is that of another
    /// operation, or if path and query get too long.
    pub fn build_received_request(
        &self,
        path_values: &[String],
        query: &str,
    ) -> Result<UpstreamRequest, InputError> {
        self.reject_other_paths(path_values)?;
        let operation = self.operation();
        let mut target = String::with_capacity(operation.path().len() + query.len() + 64);
        let mut values = path_values.iter();
        for (i, piece) in operation.path().split(['{', '}']).enumerate() {
            if i % 2 == 0 {
                target.push_str(piece);
            } else {
                let value = values.next().map_or("", String::as_str);
                path_segment::push(&mut target, value)
                    .map_err(|why| InputError::new(piece, why))?;
            }
        }
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
        if target.len() > MAX_TARGET_BYTES {
            let what = format!(
                "path and query are {} bytes long, and {MAX_TARGET_BYTES} fit",
                target.len()
            );
            return Err(InputError::new("", what));
        }
        Ok(UpstreamRequest {
            operation: operation.name(),
            method: operation.method().clone(),
            base: operation.base(),
            target,
            headers: http::HeaderMap::new(),
            body: None,
            is_retryable: operation.is_retryable(),
            is_write: operation.effect() != Effect::Read,
            preview: None,
        })
    }

    /// Puts the arguments that changed since the request was read into the body, and returns the
    /// new body.
    ///
    /// # Errors
    /// Returns an error if a changed argument is not in the body.
    pub fn replace_received_fields(
        &self,
        body: &[u8],
        before: &JsonMap,
        after: &JsonMap,
    ) -> Result<Vec<u8>, InputError> {
        let mut document = parse_body(body)?;
        let changed = after
            .iter()
            .filter(|(name, value)| before.get(*name) != Some(*value));
        for (name, value) in changed {
            let field = match (self.operation().body, &mut document) {
                (BodyKind::Bare(argument), document) if argument == name => Some(document),
                (BodyKind::Bare(_), _) => None,
                (_, Value::Object(fields)) => fields.get_mut(name),
                _ => None,
            };
            let Some(field) = field else {
                return Err(InputError::new(
                    name,
                    "refers to a secret, which works in the body of a request only",
                ));
            };
            field.clone_from(value);
        }
        // The names of a `Value` are strings, so it always serializes.
        Ok(serde_json::to_vec(&document).unwrap_or_default())
    }
}

/// The place where an argument travels in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentPlace {
    /// In a placeholder of the path.
    Path,
    /// In the query.
    Query {
        /// True if each item of a list is a parameter of its own.
        is_repeated: bool,
    },
    /// In this header.
    Header(&'static str),
    /// In a field of the body.
    Body,
    /// The body is its value.
    WholeBody,
}

impl Operation {
    /// Returns the place where an argument travels.
    pub fn argument_place(&self, name: &str) -> ArgumentPlace {
        let header = self.headers.iter().find(|(argument, _)| *argument == name);
        if self.placeholders().any(|placeholder| placeholder == name) {
            return ArgumentPlace::Path;
        }
        if let Some((_, header)) = header {
            return ArgumentPlace::Header(header);
        }
        match self.body {
            BodyKind::Bare(argument) if argument == name => ArgumentPlace::WholeBody,
            BodyKind::Arguments | BodyKind::Bare(_) if !self.query.contains(&name) => {
                ArgumentPlace::Body
            }
            _ => ArgumentPlace::Query {
                is_repeated: self.repeats(name),
            },
        }
    }

    /// Returns true if a request has a body.
    pub fn takes_body(&self) -> bool {
        self.body != BodyKind::None
    }

    /// Returns true if the values of an argument travel as repeated parameters of the query.
    pub(super) fn repeats(&self, name: &str) -> bool {
        self.repeated_arguments.contains(&name)
    }
}

/// Collects the arguments of a request, part by part.
struct ArgumentReader<'a> {
    published: &'a CompiledOperation,
    received: ReceivedArguments,
    path_names: Vec<&'static str>,
}

impl ArgumentReader<'_> {
    fn read_path(&mut self, values: &[String]) -> Result<(), InputError> {
        for (name, value) in self.path_names.iter().zip(values) {
            path_segment::push(&mut String::new(), value)
                .map_err(|why| InputError::new(name, why))?;
            self.received
                .args
                .insert((*name).to_owned(), value.as_str().into());
        }
        Ok(())
    }

    fn read_query(&mut self, query: &str) -> Result<(), InputError> {
        let mut parameters = 0;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            parameters += 1;
            if parameters > MAX_VALUES {
                return Err(InputError::new("", "the query has too many parameters"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode_form(name), decode_form(value)) else {
                return Err(InputError::new("", "the query is not UTF-8"));
            };
            self.add_parameter(name, value)?;
        }
        Ok(())
    }

    fn add_parameter(&mut self, name: String, text: String) -> Result<(), InputError> {
        if self.path_names.contains(&name.as_str()) {
            if self.received.args.get(&name).and_then(Value::as_str) != Some(&text) {
                self.received.shadowed.push(name);
            }
            return Ok(());
        }
        let takes_list = self.takes_list(&name);
        let values: Vec<Value> = match takes_list {
            // Lists travel joined by commas.
            true if !self.published.operation().repeats(&name) => {
                text.split(',').map(Value::from).collect()
            }
            _ => vec![text.into()],
        };
        match self.received.args.get_mut(&name) {
            None if takes_list && values.len() > 1 => {
                self.received.args.insert(name, values.into());
            }
            None => {
                let value = values.into_iter().next().unwrap_or_default();
                self.received.args.insert(name, value);
            }
            Some(given) if takes_list => match given {
                Value::Array(list) => list.extend(values),
                first => {
                    let mut list = vec![first.take()];
                    list.extend(values);
                    *first = list.into();
                }
            },
            Some(_) => {
                return Err(InputError::new(
                    name,
                    "is in the query twice, and servers differ on which one counts; give it once",
                ));
            }
        }
        Ok(())
    }

    /// Returns true if the schema has a list in the place of an argument.
    fn takes_list(&self, name: &str) -> bool {
        let schema = self.published.full_schema().get("properties");
        let schema = schema.and_then(|fields| fields.get(name));
        schema.is_some_and(|schema| {
            schema.get("type").is_some_and(|kind| kind == "array") || schema.get(OR_LIST).is_some()
        })
    }

    fn read_body(&mut self, body: &[u8]) -> Result<(), InputError> {
        if body.is_empty() {
            return Ok(());
        }
        let value = parse_body(body)?;
        match (self.published.operation().body, value) {
            (BodyKind::Bare(name), value) => self.add_field(name.to_owned(), value),
            (BodyKind::Arguments | BodyKind::None, Value::Object(fields)) => fields
                .into_iter()
                .try_for_each(|(name, value)| self.add_field(name, value)),
            (BodyKind::Arguments | BodyKind::None, _) => {
                Err(InputError::new("", "the body is to be a JSON object"))
            }
        }
    }

    fn add_field(&mut self, name: String, value: Value) -> Result<(), InputError> {
        match self.received.args.get(&name) {
            None => {
                self.received.args.insert(name, value);
            }
            Some(given) if *given == value => {}
            Some(_) if self.path_names.contains(&name.as_str()) => {
                self.received.shadowed.push(name);
            }
            Some(_) => {
                return Err(InputError::new(
                    name,
                    "is in the query and in the body, with different values; give it once",
                ));
            }
        }
        Ok(())
    }
}

/// Parses a body within the limits of arguments.
fn parse_body(body: &[u8]) -> Result<Value, InputError> {
    let (values, _) = measure_json(body, MAX_VALUES);
    if values > MAX_VALUES {
        return Err(InputError::new(
            "",
            format!(
                "the body holds more than {MAX_VALUES} names and items; make several requests of it"
            ),
        ));
    }
    let parsed = UniqueJson::parse(body).map_err(|error| {
        InputError::new("", format_args!("the body is not valid JSON: {error}"))
    })?;
    match parsed.repeated_name {
        None => Ok(parsed.value),
        Some(name) => Err(InputError::new(
            name,
            "is in one object twice, and servers differ on which one counts; give it once",
        )),
    }
}

/// Decodes a name or value of a query. Returns `None` if it is not UTF-8.
fn decode_form(text: &str) -> Option<String> {
    let spaced = match text.contains('+') {
        true => Cow::Owned(text.replace('+', " ")),
        false => Cow::Borrowed(text),
    };
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

impl ArgumentWalk<'_> {
    /// Reports a field that this version does not know.
    pub(super) fn report_unknown_name(&mut self, at: impl std::fmt::Display) {
        match self.options.unknown_fields {
            UnknownFields::Deny => self.findings.add_error(at, "is not known"),
            UnknownFields::Warn | UnknownFields::Allow => {
                self.findings.add_unknown_argument(at, String::new);
            }
        }
    }
}

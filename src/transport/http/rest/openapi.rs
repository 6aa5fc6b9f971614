//! The OpenAPI description of the REST face, made from the declarations of the operations.

use portkey_api::catalog::CatalogEntry;
use portkey_operation::{
    ArgumentPlace, CompiledOperation, JsonMap, Operation, Plan, Presentation, Profile,
};
use serde_json::{Map, Value, json};

use super::{
    DRY_RUN_HEADER,
    error::{RestErrorCode, TICKET_HEADER},
};
use crate::auth::principal::AuthMethod;

/// Pattern of the values of path segments: no separator and no control character.
const SEGMENT_PATTERN: &str = r"^[^/\\\u0000-\u001f\u007f-\u009f]+$";

/// An operation in the description.
#[derive(Debug)]
pub(super) struct OperationDescription {
    pub(super) operation: &'static Operation,
    path: String,
    tag: &'static str,
    tag_description: &'static str,
    item: Value,
}

impl OperationDescription {
    /// Describes an operation at this path, with the schemas of the `full` profile.
    pub(super) fn new(entry: &CatalogEntry, path: String) -> Self {
        let presentation = Presentation {
            profile: Profile::Full,
            ..Presentation::default()
        };
        let operation = entry.operation;
        let compiled = CompiledOperation::with_presentation(operation.clone(), &presentation);
        Self {
            operation,
            path,
            tag: entry.domain.name,
            tag_description: entry.domain.about,
            item: describe_operation(&compiled, entry.domain.name),
        }
    }
}

/// Joins the description of these operations, which are served below a path prefix to callers who
/// authenticate by this method.
pub(super) fn build_document<'a>(
    operations: impl Iterator<Item = &'a OperationDescription>,
    prefix: &str,
    auth: AuthMethod,
) -> Value {
    let mut paths = Map::new();
    let mut tags = Map::new();
    for description in operations {
        let OperationDescription {
            operation,
            path,
            tag,
            tag_description,
            item,
        } = description;
        let methods = paths
            .entry(path.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = methods {
            let method = operation.method().as_str().to_ascii_lowercase();
            methods.insert(method, item.clone());
        }
        tags.entry(*tag)
            .or_insert_with(|| json!({ "name": tag, "description": tag_description }));
    }
    let tags: Vec<Value> = tags.into_iter().map(|(_, tag)| tag).collect();
    // Without authentication, a key is rejected, because it would not be used.
    let (security, schemes) = match auth {
        AuthMethod::Local => (json!([]), json!({})),
        AuthMethod::Key | AuthMethod::Token | AuthMethod::OAuth => (
            json!([{ "portkeyKey": [] }, { "bearer": [] }]),
            json!({
                "portkeyKey": { "type": "apiKey", "in": "header", "name": "x-portkey-api-key" },
                "bearer": { "type": "http", "scheme": "bearer" },
            }),
        ),
    };
    let description = format!(
        "The operations of the Portkey Admin API that are open to the caller, behind authentication, \
         policies, approvals and the audit log of portkey-mcp. A request with the header \
         `{DRY_RUN_HEADER}: true` is described and not sent. The header `{TICKET_HEADER}` names the \
         ticket of an approved request."
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portkey Admin API behind portkey-mcp",
            "version": env!("CARGO_PKG_VERSION"),
            "description": description,
            "contact": { "name": env!("CARGO_PKG_NAME") },
        },
        "servers": [{ "url": if prefix.is_empty() { "/" } else { prefix } }],
        "security": security,
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": schemes,
            "schemas": { "Error": error_schema() },
            "responses": {
                "Error": {
                    "description": "An error of Portkey, or of this server with a code of its own.",
                    "content": {
                        "application/json": {
                            "schema": { "$ref": "#/components/schemas/Error" },
                        },
                    },
                },
            },
        },
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "success": { "type": "boolean" },
            "data": {
                "type": "object",
                "properties": {
                    "message": { "type": "string" },
                    "errorCode": {
                        "type": "string",
                        "description": "A code of Portkey, such as AB01, or of this server.",
                        "examples": RestErrorCode::ALL.map(RestErrorCode::as_str),
                    },
                    "code": { "type": "string" },
                    "ticket": {
                        "type": "string",
                        "description": format!("Ticket of a request that waits for approval, for the header {TICKET_HEADER}."),
                    },
                },
            },
        },
    })
}

fn describe_operation(compiled: &CompiledOperation, domain: &str) -> Value {
    let operation = compiled.operation();
    let title = compiled.title();
    let description = match compiled.description() {
        "" => title,
        description => description,
    };
    let mut item = Map::new();
    item.insert("operationId".to_owned(), operation.name().into());
    item.insert("summary".to_owned(), title.into());
    item.insert("description".to_owned(), description.into());
    item.insert("tags".to_owned(), json!([domain]));
    let Arguments { parameters, body } = Arguments::of(compiled);
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(body) = body {
        item.insert("requestBody".to_owned(), body);
    }
    let responses = json!({
        "200": {
            "description": "The answer of Portkey, with secrets masked.",
            "content": { "application/json": { "schema": {} } },
        },
        "default": { "$ref": "#/components/responses/Error" },
    });
    item.insert("responses".to_owned(), responses);
    let hints = operation.hints();
    let extensions = json!({
        "x-portkey-mcp-effect": operation.effect().as_str(),
        "x-portkey-mcp-hints": {
            "readOnly": hints.read_only,
            "destructive": hints.destructive,
            "idempotent": hints.idempotent,
            "openWorld": hints.open_world,
        },
        "x-portkey-mcp-scopes": operation.required_scopes(),
        "x-portkey-mcp-enterprise": operation.plan() == Plan::Enterprise,
    });
    if let Value::Object(extensions) = extensions {
        item.extend(extensions);
    }
    item.into()
}

/// The arguments of an operation, by the place where they travel.
struct Arguments {
    parameters: Vec<Value>,
    body: Option<Value>,
}

impl Arguments {
    fn of(compiled: &CompiledOperation) -> Self {
        let operation = compiled.operation();
        let fields = |key: &str| compiled.schema().get(key).cloned();
        let properties = match fields("properties") {
            Some(Value::Object(properties)) => properties,
            _ => JsonMap::new(),
        };
        let required = match fields("required") {
            Some(Value::Array(required)) => required,
            _ => Vec::new(),
        };
        let is_required = |name: &str| required.iter().any(|required| required == name);
        let mut parameters = Vec::new();
        let mut body_fields = JsonMap::new();
        let mut whole_body = None;
        for (name, mut schema) in properties {
            let is_needed = is_required(&name);
            match operation.argument_place(&name) {
                ArgumentPlace::Path => {
                    constrain_segment(&mut schema);
                    parameters.push(parameter("path", &name, true, &mut schema));
                }
                ArgumentPlace::Query { is_repeated } => {
                    let mut query = parameter("query", &name, is_needed, &mut schema);
                    if let Value::Object(query) = &mut query {
                        query.insert("style".to_owned(), "form".into());
                        query.insert("explode".to_owned(), is_repeated.into());
                    }
                    parameters.push(query);
                }
                ArgumentPlace::Header(header) => {
                    parameters.push(parameter("header", header, is_needed, &mut schema));
                }
                ArgumentPlace::Body => _ = body_fields.insert(name, schema),
                ArgumentPlace::WholeBody => whole_body = Some(schema),
            }
        }
        let body_required: Vec<Value> = required
            .into_iter()
            .filter(|name| {
                name.as_str()
                    .is_some_and(|name| body_fields.contains_key(name))
            })
            .collect();
        let schema = whole_body.or_else(|| {
            operation.takes_body().then(|| {
                let mut schema = json!({ "type": "object", "properties": body_fields });
                if let (Value::Object(schema), false) = (&mut schema, body_required.is_empty()) {
                    schema.insert("required".to_owned(), body_required.clone().into());
                }
                schema
            })
        });
        let body = schema.map(|schema| {
            json!({
                "required": !body_required.is_empty(),
                "content": { "application/json": { "schema": schema } },
            })
        });
        Self { parameters, body }
    }
}

/// Adds what every value in a path has to be.
fn constrain_segment(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    if schema.get("type").is_some_and(|name| name == "string") {
        for (name, constraint) in [
            ("minLength", json!(1)),
            ("maxLength", json!(255)),
            ("pattern", json!(SEGMENT_PATTERN)),
        ] {
            schema.entry(name).or_insert(constraint);
        }
    }
}

fn parameter(place: &str, name: &str, is_required: bool, schema: &mut Value) -> Value {
    let description = schema
        .as_object_mut()
        .and_then(|schema| schema.shift_remove("description"));
    let mut parameter = Map::new();
    parameter.insert("name".to_owned(), name.into());
    parameter.insert("in".to_owned(), place.into());
    parameter.insert("required".to_owned(), is_required.into());
    parameter.extend(description.map(|text| ("description".to_owned(), text)));
    parameter.insert("schema".to_owned(), schema.take());
    parameter.into()
}

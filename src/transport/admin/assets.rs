//! The style sheet and the script of the console, which are part of the binary.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

const STYLE: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");

pub(super) async fn style() -> Response {
    serve("text/css; charset=utf-8", STYLE)
}

pub(super) async fn script() -> Response {
    serve("text/javascript; charset=utf-8", SCRIPT)
}

fn serve(kind: &'static str, text: &'static str) -> Response {
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    ([content_type], text).into_response()
}

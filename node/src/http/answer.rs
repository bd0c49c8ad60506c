//! Forms of answers: pages, JSON, errors, and the headers that all of them carry.

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::board::page::POLICY;

const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// An answer of one media type.
pub fn of(status: StatusCode, media: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// A value as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => of(status, "application/json", body),
        Err(why) => of(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", why.to_string()),
    }
}

/// An error as JSON: `{"error": {"status", "what"}}`.
pub fn error(status: StatusCode, what: &str) -> Response {
    let error = serde_json::json!({ "error": { "status": status.as_u16(), "what": what } });
    with_safety(json(status, &error))
}

/// Adds the headers that keep browsers from doing more with an answer than showing it.
pub fn with_safety(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CORP, HeaderValue::from_static("same-origin"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

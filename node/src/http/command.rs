//! Orders over HTTP: `POST /v1/commands` with `{"verb": "pause"}`, for whoever holds the token.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use crate::control::order::Verb;
use crate::http::answer;
use crate::http::limits::BODY_BYTES_MAX;
use crate::http::site::Site;

/// Longest wait for what came of an order.
const PATIENCE: Duration = Duration::from_secs(10);

/// The route. Nothing of the body is read before the token is good.
pub async fn post(State(site): State<Site>, headers: HeaderMap, body: Body) -> Response {
    let given = headers.get(AUTHORIZATION).and_then(|h| h.to_str().ok());
    if !site.token.is_in(given) {
        let what = "this needs the token in the node's http.token: Authorization: Bearer TOKEN";
        let mut response = answer::error(StatusCode::UNAUTHORIZED, what);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    let Some(orders) = &site.orders else {
        return answer::error(StatusCode::CONFLICT, "this node takes no orders");
    };
    let declared = headers.get(CONTENT_LENGTH).and_then(|h| h.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|n| n > BODY_BYTES_MAX as u64) {
        return answer::error(StatusCode::PAYLOAD_TOO_LARGE, "an order is shorter than 4 KiB");
    }
    let bytes = match tokio::time::timeout(site.limits.body_patience, to_bytes(body, BODY_BYTES_MAX)).await {
        Err(_) => return answer::error(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        Ok(Err(_)) => return answer::error(StatusCode::PAYLOAD_TOO_LARGE, "an order is shorter than 4 KiB"),
        Ok(Ok(bytes)) => bytes,
    };
    let verb = match serde_json::from_slice::<Verb>(&bytes) {
        Ok(verb) => verb,
        Err(why) => return answer::error(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    if let Some(why) = verb.fault() {
        return answer::error(StatusCode::BAD_REQUEST, &why);
    }
    tracing::info!(?verb, "an order came over HTTP");
    match tokio::time::timeout(PATIENCE, orders.give(verb)).await {
        Ok(Some(given)) if given.is_done => answer::json(StatusCode::OK, &given),
        Ok(Some(given)) => answer::error(StatusCode::CONFLICT, &given.why),
        Ok(None) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "the node has stopped"),
        Err(_) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "the node is busy"),
    }
}

//! Commands over HTTP: `POST /v1/commands` with `{"command": "pause"}`, for whoever holds the token.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use protocol::id::PeerId;
use protocol::peer::input::Command;
use serde::Deserialize;
use tokio::sync::mpsc::error::TrySendError;

use crate::http::answer;
use crate::http::limits::BODY_BYTES_MAX;
use crate::http::site::Site;

/// What may be asked of a node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
enum Order {
    Pause {},
    Resume {},
    Leave {},
    Ban { peer: String },
    Unban { peer: String },
}

impl Order {
    fn command(&self) -> Result<Command, String> {
        let peer = |text: &str| text.parse::<PeerId>().map_err(|e| e.to_string());
        Ok(match self {
            Self::Pause {} => Command::Pause,
            Self::Resume {} => Command::Resume,
            Self::Leave {} => Command::Leave,
            Self::Ban { peer: key } => Command::Ban(peer(key)?),
            Self::Unban { peer: key } => Command::Unban(peer(key)?),
        })
    }
}

/// The route. Nothing of the body is read before the token is good.
pub async fn post(State(site): State<Site>, headers: HeaderMap, body: Body) -> Response {
    let given = headers.get(AUTHORIZATION).and_then(|h| h.to_str().ok());
    if !site.token.is_in(given) {
        let what = "this needs the token in the node's http.token: Authorization: Bearer TOKEN";
        let mut response = answer::error(StatusCode::UNAUTHORIZED, what);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    let Some(commands) = &site.commands else {
        return answer::error(StatusCode::CONFLICT, "this node takes no commands");
    };
    let declared = headers.get(CONTENT_LENGTH).and_then(|h| h.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|n| n > BODY_BYTES_MAX as u64) {
        return answer::error(StatusCode::PAYLOAD_TOO_LARGE, "a command is shorter than 4 KiB");
    }
    let bytes = match tokio::time::timeout(site.limits.body_patience, to_bytes(body, BODY_BYTES_MAX)).await {
        Err(_) => return answer::error(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        Ok(Err(_)) => return answer::error(StatusCode::PAYLOAD_TOO_LARGE, "a command is shorter than 4 KiB"),
        Ok(Ok(bytes)) => bytes,
    };
    let order = serde_json::from_slice::<Order>(&bytes).map_err(|e| e.to_string());
    let command = match order.and_then(|order| order.command()) {
        Ok(command) => command,
        Err(why) => return answer::error(StatusCode::BAD_REQUEST, &why),
    };
    match commands.try_send(command) {
        Ok(()) => {
            tracing::info!(?command, "a command came over HTTP");
            answer::json(StatusCode::ACCEPTED, &serde_json::json!({ "accepted": true }))
        }
        Err(TrySendError::Full(_)) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "the node is busy"),
        Err(TrySendError::Closed(_)) => {
            answer::error(StatusCode::SERVICE_UNAVAILABLE, "the node has stopped")
        }
    }
}

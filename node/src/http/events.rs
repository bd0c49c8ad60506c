//! `GET /v1/events`: what happens, as server-sent events, one line of `events.jsonl` each.

use std::convert::Infallible;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::sync::broadcast::error::RecvError;

use crate::http::answer;
use crate::http::limits::KEEP_ALIVE;
use crate::http::site::Site;
use crate::http::streaming::Streaming;

/// Answers with the stream. A follower that is too slow gets an event `missed` with the number of lines it lost.
pub fn follow(site: &Site, streaming: &Streaming) -> Response {
    let Ok(permit) = site.streams.clone().try_acquire_owned() else {
        return answer::error(StatusCode::SERVICE_UNAVAILABLE, "too many followers");
    };
    streaming.begin();
    let lines = site.feed.follow();
    let events = stream::unfold((lines, permit), |(mut lines, permit)| async {
        let event = match lines.recv().await {
            Ok(line) => Event::default().data(&*line),
            Err(RecvError::Lagged(missed)) => Event::default().event("missed").data(missed.to_string()),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, Infallible>(event), (lines, permit)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

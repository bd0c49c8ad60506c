//! The routes and what they answer.

use std::future::{Ready, ready};

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use serde_json::{Value, json};

use crate::board::figures::short;
use crate::board::now::Now;
use crate::board::page::{self, SCRIPT, STYLE, View};
use crate::http::limits::{HEALTHY_WITHIN, READY_WITHIN};
use crate::http::site::Site;
use crate::http::streaming::Streaming;
use crate::http::{answer, command, events, exposition, guard, metrics};
use crate::telemetry::escape;

/// All routes, behind the checks of host and origin.
pub fn router(site: Site) -> Router {
    let html = "text/html; charset=utf-8";
    let style = || ready(answer::of(StatusCode::OK, "text/css; charset=utf-8", STYLE));
    let script = || ready(answer::of(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT));
    let nothing = || ready(answer::error(StatusCode::NOT_FOUND, "there is nothing here; / is the dashboard"));
    let otherwise = || ready(answer::error(StatusCode::METHOD_NOT_ALLOWED, "this is not how it is asked"));
    Router::new()
        .route("/", read(move |site| answer::of(StatusCode::OK, html, page_of(site, page::live))))
        .route("/body", read(move |site| answer::of(StatusCode::OK, html, page_of(site, body))))
        .route("/style.css", get(style))
        .route("/live.js", get(script))
        .route("/healthz", read(healthz))
        .route("/readyz", read(readyz))
        .route("/metrics", read(|site| answer::of(StatusCode::OK, exposition::MEDIA, metrics::text(site))))
        .route("/v1/status", read(status))
        .route("/v1/peers", read(peers))
        .route("/v1/topology", read(topology))
        .route("/v1/ledger", read(ledger))
        .route("/v1/events", get(follow))
        .route("/v1/commands", post(command::post))
        .fallback(nothing)
        .method_not_allowed_fallback(otherwise)
        .layer(from_fn_with_state(site.clone(), guard::check))
        .with_state(site)
}

/// A route that only reads; it waits for nothing.
fn read(write: impl Fn(&Site) -> Response + Clone + Send + Sync + 'static) -> MethodRouter<Site> {
    get(move |State(site): State<Site>| ready(write(&site)))
}

fn follow(State(site): State<Site>, Extension(streaming): Extension<Streaming>) -> Ready<Response> {
    ready(events::follow(&site, &streaming))
}

fn body(view: &View<'_>) -> String {
    page::body(view).into_string()
}

fn page_of(site: &Site, write: impl FnOnce(&View<'_>) -> String) -> String {
    let (story, now) = (site.feed.story(), site.feed.present());
    let title = match now.as_deref() {
        Some(now) if !now.status.name.is_empty() => escape::line(&now.status.name),
        _ => short(site.feed.teller()),
    };
    let me = Some(site.feed.teller()).filter(|_| now.as_deref().is_none_or(Now::takes_part));
    let view = View { story: &story, me, now: now.as_deref(), nodes: &[], title: &title };
    write(&view)
}

/// Alive: the node told its state lately. Load balancers restart what fails here.
fn healthz(site: &Site) -> Response {
    let age = site.feed.present().map(|now| now.at.elapsed());
    match age {
        // A node that has just started has not told anything yet.
        None => answer::json(StatusCode::OK, &json!({ "status": "starting" })),
        Some(age) if age <= HEALTHY_WITHIN => answer::json(StatusCode::OK, &json!({ "status": "ok" })),
        Some(age) => not_well("told nothing", age.as_secs_f64()),
    }
}

/// Ready: it told its state within seconds, takes part in the run, and nothing keeps it from going on.
fn readyz(site: &Site) -> Response {
    let Some(now) = site.feed.present() else { return starting() };
    let age = now.at.elapsed();
    if now.status.state.starts_with("stopped") {
        return answer::error(StatusCode::SERVICE_UNAVAILABLE, &escape::line(&now.status.state));
    }
    if let Some(trouble) = &now.status.trouble {
        return answer::error(StatusCode::SERVICE_UNAVAILABLE, &escape::line(trouble));
    }
    if age > READY_WITHIN {
        return not_well("told nothing", age.as_secs_f64());
    }
    let state = json!({ "status": "ok", "stage": now.status.stage, "peers": now.status.peers });
    answer::json(StatusCode::OK, &state)
}

fn not_well(what: &str, seconds: f64) -> Response {
    answer::error(StatusCode::SERVICE_UNAVAILABLE, &format!("the node {what} for {seconds:.0} s"))
}

fn starting() -> Response {
    answer::error(StatusCode::SERVICE_UNAVAILABLE, "the node is starting")
}

fn status(site: &Site) -> Response {
    site.feed.present().map_or_else(starting, |now| answer::json(StatusCode::OK, &now.status))
}

fn peers(site: &Site) -> Response {
    site.feed
        .present()
        .map_or_else(starting, |now| answer::json(StatusCode::OK, &json!({ "peers": now.peers })))
}

/// Nodes, links, pulls and places, as far as this node knows.
fn topology(site: &Site) -> Response {
    let story = site.feed.story();
    let me = site.feed.teller();
    let nodes: Vec<Value> = story
        .people()
        .iter()
        .map(|(key, p)| {
            json!({ "peer_id": key, "name": p.name, "organization": p.organization, "outer_step": p.outer_step,
                "stage": p.stage, "score": p.score, "is_banned": p.is_banned })
        })
        .collect();
    let linked = story.people().iter().filter(|(key, p)| p.is_linked && *key != me);
    let links: Vec<Value> = linked.map(|(key, _)| json!({ "from": me, "to": key })).collect();
    let pulls: Vec<Value> = story
        .pulls()
        .iter()
        .map(|((from, to), p)| {
            json!({ "from": from, "to": to, "updates": p.updates, "shards": p.shards, "last_outer": p.last_outer })
        })
        .collect();
    let spots: Vec<Value> =
        story.spots().iter().map(|(key, s)| json!({ "peer_id": key, "x": s.x, "y": s.y })).collect();
    answer::json(StatusCode::OK, &json!({ "nodes": nodes, "links": links, "pulls": pulls, "map": spots }))
}

fn ledger(site: &Site) -> Response {
    answer::json(StatusCode::OK, &json!({ "records": site.feed.story().ledger_tail() }))
}

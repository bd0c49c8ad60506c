//! Who may ask at all: checks of `Host` and `Origin` before anything else.
//!
//! A page on the web can make a visitor's browser ask a server on the visitor's own machine, by a form or by a name
//! that suddenly means 127.0.0.1 (DNS rebinding). Such requests carry a foreign origin or a foreign host name. An IP
//! address as host cannot be rebound, so it is always good.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::answer;
use crate::http::site::Site;

/// The check, as a layer around all routes.
pub async fn check(State(site): State<Site>, request: Request, next: Next) -> Response {
    site.requests.add(request.uri().path());
    match refusal(request.headers(), &site.hosts) {
        Some(why) => answer::error(StatusCode::FORBIDDEN, why),
        None => answer::with_safety(next.run(request).await),
    }
}

/// Why a request is refused; `None` for a good one.
fn refusal(headers: &HeaderMap, hosts: &[String]) -> Option<&'static str> {
    let mut given = headers.get_all(HOST).iter();
    let (Some(host), None) = (given.next().and_then(|h| h.to_str().ok()), given.next()) else {
        return Some("expected one Host header");
    };
    if !is_known(host, hosts) {
        return Some("this node is not known under that name; add it to http.hosts");
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let is_own = |origin: &str| {
        origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host)
    };
    if origins.any(|origin| !origin.to_str().is_ok_and(is_own)) {
        return Some("requests from other sites are refused");
    }
    None
}

/// Whether a `Host` (with or without port) is an IP address, `localhost` or one of ours.
fn is_known(host: &str, hosts: &[String]) -> bool {
    let name = if let Some(rest) = host.strip_prefix('[') {
        let Some((ip, port)) = rest.split_once(']') else { return false };
        return ip.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
    } else if let Some((name, port)) = host.split_once(':') {
        if port.parse::<u16>().is_err() {
            return false;
        }
        name
    } else {
        host
    };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn names_that_can_be_rebound_and_origins_of_others_are_refused() {
        let hosts = ["ada".to_owned()];
        let rows: [(&[&str], &[&str], bool); 18] = [
            (&["127.0.0.1:7180"], &[], true),
            (&["127.0.0.1"], &[], true),
            (&["[::1]:7180"], &[], true),
            (&["[::1]"], &[], true),
            (&["localhost:1"], &[], true),
            (&["LOCALHOST"], &[], true),
            (&["ada:7180"], &["http://ada:7180"], true),
            (&["192.0.2.7"], &["https://192.0.2.7"], true),
            (&["evil.example:7180"], &[], false),
            (&["localhost.evil.example"], &[], false),
            (&["127.0.0.1.evil.example"], &[], false),
            (&["localhost:port"], &[], false),
            (&["[::1"], &[], false),
            (&[], &[], false),
            (&["localhost", "evil.example"], &[], false),
            (&["localhost"], &["http://evil.example"], false),
            (&["localhost"], &["null"], false),
            (&["localhost:7180"], &["http://localhost:7181"], false),
        ];
        for (host, origin, is_good) in rows {
            let mut headers = HeaderMap::new();
            for (name, values) in [(HOST, host), (ORIGIN, origin)] {
                for value in values {
                    headers.append(&name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(refusal(&headers, &hosts).is_none(), is_good, "{host:?} {origin:?}");
        }
    }
}

//! Counts requests by path: ours by name, all others as one.

use std::sync::atomic::{AtomicU64, Ordering};

/// Paths with a count of their own.
const PATHS: [&str; 13] = [
    "/",
    "/body",
    "/style.css",
    "/live.js",
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/status",
    "/v1/peers",
    "/v1/topology",
    "/v1/ledger",
    "/v1/events",
    "/v1/commands",
];

/// Requests so far, refused ones included.
#[derive(Debug, Default)]
pub struct Requests {
    ours: [AtomicU64; PATHS.len()],
    other: AtomicU64,
}

impl Requests {
    /// Counts a request. Relaxed: each count stands for itself.
    pub fn add(&self, path: &str) {
        let count = PATHS.iter().position(|p| *p == path).map_or(&self.other, |i| &self.ours[i]);
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// All counts by path.
    pub fn all(&self) -> impl Iterator<Item = (String, u64)> {
        let ours = PATHS.iter().zip(&self.ours).map(|(path, n)| ((*path).to_owned(), n));
        ours.chain([("other".to_owned(), &self.other)]).map(|(path, n)| (path, n.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_strangers_make_up_share_one_count() {
        let requests = Requests::default();
        for path in ["/metrics", "/metrics", "/a", "/b\"} 1", ""] {
            requests.add(path);
        }
        let counts: Vec<_> = requests.all().filter(|(_, n)| *n > 0).collect();
        assert_eq!(counts, [("/metrics".to_owned(), 2), ("other".to_owned(), 3)]);
    }
}

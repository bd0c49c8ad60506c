//! Why the web server cannot start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// A server that cannot start; the node runs without it or not at all, as its caller decides.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error(
        "could not listen on {address}: {source}; choose another address for http.listen, or \"\" for none"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The token file cannot be used.
    #[error("could not use {path}: {source}; it holds the token for commands over HTTP", path = path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The token file holds no token.
    #[error("{path} holds no token: expected 64 hexadecimal digits; delete it and the node makes a new one", path = path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the token.
    #[error("{path} can be read by other users (mode {mode:o}); run `chmod 600` on it", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

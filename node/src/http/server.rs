//! The socket: accepts connections within the caps and serves each on a task of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::error::HttpError;
use crate::http::limits::{HEAD_BYTES_MAX, HEADERS_MAX, Limits};
use crate::http::router::router;
use crate::http::site::Site;
use crate::http::streaming::Streaming;

/// Pause after a failed accept: no descriptor is free, and asking at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Time for the answer under way when a connection's life is over.
const LAST_WORDS: Duration = Duration::from_secs(5);
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A port that is taken and not yet served.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    /// Takes the port.
    ///
    /// # Errors
    /// When the address is in use, not of this machine, or not allowed.
    pub fn open(address: SocketAddr) -> Result<Self, HttpError> {
        let open = || -> io::Result<Self> {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        open().map_err(|source| HttpError::Listen { address, source })
    }

    /// Where it listens, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// When the socket cannot be handed to the runtime.
    pub async fn serve(self, site: Site) -> Result<(), HttpError> {
        let address = self.address;
        let listener = tokio::net::TcpListener::from_std(self.listener)
            .map_err(|source| HttpError::Listen { address, source })?;
        let limits = site.limits;
        let room = Arc::new(Semaphore::new(limits.connections_max));
        let routes = router(site);
        loop {
            match listener.accept().await {
                Ok((socket, _)) => match Arc::clone(&room).try_acquire_owned() {
                    Ok(permit) => drop(tokio::spawn(connection(socket, routes.clone(), limits, permit))),
                    Err(_) => refuse(socket).await,
                },
                Err(error) => {
                    tracing::debug!(%error, "could not accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Says that there is no room; the few bytes fit into the socket's own buffer, so this does not wait for the reader.
async fn refuse(mut socket: TcpStream) {
    // Whoever hung up meanwhile needs no answer.
    let _ = tokio::time::timeout(Duration::from_millis(50), socket.write_all(FULL)).await;
}

async fn connection(socket: TcpStream, routes: Router, limits: Limits, _permit: OwnedSemaphorePermit) {
    let streaming = Streaming::default();
    let (mark, routes) = (streaming.clone(), TowerToHyperService::new(routes));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(mark.clone());
        routes.call(request)
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_patience)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let served = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(served);
    let life = async {
        tokio::time::sleep(limits.connection_life).await;
        if streaming.is_on() {
            tokio::time::sleep(limits.stream_life).await;
        }
    };
    tokio::select! {
        // Broken and rude clients are no news.
        _ = &mut served => return,
        () = life => served.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(LAST_WORDS, served).await;
}

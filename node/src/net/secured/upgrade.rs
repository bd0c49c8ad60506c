//! From a socket to a secured channel and the peer behind it.

use std::future::Future;
use std::io;
use std::pin::Pin;

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::PeerId;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::noise;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::net::secured::keys::{Keys, SECRET_BYTES};
use crate::net::secured::lent::Lent;
use crate::net::secured::records::Records;

/// Names what follows on the socket; also bound into the handshake, so that it fits no other protocol's.
const NAME: &str = "/starling/secured/1";

/// Secures sockets in the name of a key.
#[derive(Clone)]
pub struct Secured {
    noise: noise::Config,
}

/// A channel that was not secured.
#[derive(Debug, Error)]
pub enum SecuredError {
    /// The handshake failed: the other end is not who it says, or speaks something else.
    #[error(transparent)]
    Noise(#[from] noise::Error),
    /// The connection broke, or the system has no random numbers.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Secured {
    /// Secures in the name of this key, which the other end learns.
    pub fn new(key: &Keypair) -> Result<Self, noise::Error> {
        Ok(Self { noise: noise::Config::new(key)?.with_prologue(NAME.as_bytes().to_vec()) })
    }
}

impl UpgradeInfo for Secured {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(NAME)
    }
}

type Upgrading<C> = Pin<Box<dyn Future<Output = Result<(PeerId, Records<C>), SecuredError>> + Send>>;

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<C> for Secured {
    type Output = (PeerId, Records<C>);
    type Error = SecuredError;
    type Future = Upgrading<C>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        Box::pin(async move {
            let (lent, returned) = Lent::new(socket);
            let (peer, channel) = self.noise.upgrade_outbound(lent, info).await?;
            let (own, theirs) = exchange(channel).await?;
            let (sealing, opening) = Keys::derive(&own, &theirs);
            let socket = returned.await.map_err(|_| lost())?;
            Ok((peer, Records::new(socket, sealing, opening)))
        })
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<C> for Secured {
    type Output = (PeerId, Records<C>);
    type Error = SecuredError;
    type Future = Upgrading<C>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        Box::pin(async move {
            let (lent, returned) = Lent::new(socket);
            let (peer, channel) = self.noise.upgrade_inbound(lent, info).await?;
            let (own, theirs) = exchange(channel).await?;
            let (opening, sealing) = Keys::derive(&theirs, &own);
            let socket = returned.await.map_err(|_| lost())?;
            Ok((peer, Records::new(socket, sealing, opening)))
        })
    }
}

type Secret = Zeroizing<[u8; SECRET_BYTES]>;

/// Sends a secret of ours through the channel and takes the other end's; the channel ends here, the socket stays.
async fn exchange(mut channel: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<(Secret, Secret)> {
    let (mut own, mut theirs) = (Secret::default(), Secret::default());
    getrandom::fill(&mut *own).map_err(io::Error::other)?;
    channel.write_all(&*own).await?;
    channel.flush().await?;
    channel.read_exact(&mut *theirs).await?;
    Ok((own, theirs))
}

fn lost() -> io::Error {
    io::Error::other("the handshake kept the socket; this is a mistake in the program")
}

//! Names of peers: libp2p's and the protocol's.
//!
//! Both hold the same ed25519 public key; libp2p wraps it in a multihash. Peers with other kinds of keys have no name here.

use libp2p::Multiaddr;
use libp2p::identity::{PublicKey, ed25519};
use libp2p::multiaddr::Protocol;
use protocol::crypto::keys::is_usable;
use protocol::id::PeerId;
use thiserror::Error;

/// Code of the identity multihash: the digest is the encoded key itself.
const IDENTITY_MULTIHASH: u64 = 0;

/// A peer name that the protocol has no use for.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("expected the name of an ed25519 key on the curve, found {0}")]
pub struct NotAPeer(pub String);

/// The protocol's name of a libp2p peer.
pub fn from_libp2p(peer: &libp2p::PeerId) -> Result<PeerId, NotAPeer> {
    let wrong = || NotAPeer(peer.to_string());
    let hash = peer.as_ref();
    if hash.code() != IDENTITY_MULTIHASH {
        return Err(wrong());
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).map_err(|_| wrong())?;
    let key = key.try_into_ed25519().map_err(|_| wrong())?;
    let name = PeerId(key.to_bytes());
    if is_usable(&name) { Ok(name) } else { Err(wrong()) }
}

/// libp2p's name of a peer.
pub fn to_libp2p(peer: &PeerId) -> Result<libp2p::PeerId, NotAPeer> {
    let wrong = || NotAPeer(peer.to_string());
    if !is_usable(peer) {
        return Err(wrong());
    }
    let key = ed25519::PublicKey::try_from_bytes(&peer.0).map_err(|_| wrong())?;
    Ok(PublicKey::from(key).to_peer_id())
}

/// Cuts a trailing `/p2p/..` off an address.
pub(super) fn split_peer(mut address: Multiaddr) -> (Option<libp2p::PeerId>, Multiaddr) {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            (Some(peer), address)
        }
        _ => (None, address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::crypto::keys::Keypair;

    #[test]
    fn a_name_survives_the_way_there_and_back() {
        let secret = [7u8; 32];
        let ours = Keypair::from_secret(secret).peer();
        let theirs = libp2p::identity::Keypair::ed25519_from_bytes(secret).expect("32 bytes are a secret");
        assert_eq!(to_libp2p(&ours), Ok(theirs.public().to_peer_id()));
        assert_eq!(from_libp2p(&theirs.public().to_peer_id()), Ok(ours));
    }

    #[test]
    fn names_that_are_no_ed25519_key_are_refused() {
        // 32 zero bytes decode to a point of small order; so does the byte string of the identity.
        let mut identity = [0u8; 32];
        identity[0] = 1;
        for bytes in [[0u8; 32], identity] {
            assert!(to_libp2p(&PeerId(bytes)).is_err(), "{bytes:?}");
        }
        // About half of all byte strings are no point of the curve.
        let refused = (2..=65).filter(|byte| to_libp2p(&PeerId([*byte; 32])).is_err()).count();
        assert!((16..=48).contains(&refused), "{refused} of 64");
        // Named by a hash of a key, as long keys are: the key cannot be read back.
        assert!(from_libp2p(&libp2p::PeerId::random()).is_err());
        let sha256: libp2p::PeerId =
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().expect("well formed");
        assert!(from_libp2p(&sha256).is_err());
    }
}

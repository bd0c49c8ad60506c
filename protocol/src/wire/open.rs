//! The single gate for gossip: bytes in, a verified message or an offence out.
//!
//! Checks run from cheap to dear: length, version, run, membership and quota, signature, schema, meaning. Replay is
//! judged by the roster, which knows what was heard. Nothing behind this gate sees unverified bytes.

use std::sync::Arc;

use crate::codec::decode_control;
use crate::crypto::signed::Domain;
use crate::id::{OuterStep, PeerId};
use crate::limits::{GOSSIP_BYTES_MAX, STEPS_AHEAD_MAX};
use crate::time::UnixSeconds;
use crate::wire::certificate::Certificate;
use crate::wire::charter::{Admission, SignedCharter};
use crate::wire::choice::Stage;
use crate::wire::manifest::VERSION;
use crate::wire::message::{Body, Message};
use crate::wire::offence::Offence;
use crate::wire::proof::convicted;
use crate::wire::sealed::Sealed;

/// Something whose signature, membership, form and meaning were checked; only [`open`] makes one from bytes.
#[derive(Clone, Debug)]
pub struct Verified<T> {
    value: T,
    signer: PeerId,
    bytes: Arc<[u8]>,
}

impl<T> Verified<T> {
    /// What was said.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Who said it.
    pub fn signer(&self) -> PeerId {
        self.signer
    }

    /// The bytes as they were heard, to relay.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

/// What the gate has to know of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A member whose quota allows one more message.
    Member,
    /// Nobody vouched for this key yet.
    Unknown,
    /// Not to be heard, and why.
    Refused(Offence),
}

/// Opens a gossip message.
///
/// `standing` tells what is known of a signer and charges its quota.
pub fn open(
    bytes: &[u8],
    charter: &SignedCharter,
    now: UnixSeconds,
    mut standing: impl FnMut(&PeerId) -> Standing,
) -> Result<Verified<Message>, Offence> {
    if bytes.len() > GOSSIP_BYTES_MAX {
        return Err(Offence::TooLong);
    }
    let sealed: Sealed = decode_control(bytes).map_err(|_| Offence::Malformed)?;
    match sealed.body.first() {
        None => return Err(Offence::Malformed),
        Some(version) if *version != VERSION => return Err(Offence::UnknownVersion),
        Some(_) => {}
    }
    if sealed.body.get(1..33) != Some(&charter.run().0.0[..]) {
        return Err(Offence::OtherRun);
    }
    let newcomer = match standing(&sealed.signer) {
        Standing::Member => false,
        Standing::Refused(offence) => return Err(offence),
        Standing::Unknown => match charter.charter().admission {
            Admission::Invite => true,
            Admission::Closed(_) => return Err(Offence::NotMember),
        },
    };
    if newcomer {
        introduce(&sealed, charter, now)?;
    }
    sealed.verify(Domain::Message).map_err(|_| Offence::BadSignature)?;
    let message: Message = decode_control(&sealed.body).map_err(|_| Offence::Malformed)?;
    if !makes_sense(&message.body, &charter.run()) {
        return Err(Offence::Meaningless);
    }
    Ok(Verified { value: message, signer: sealed.signer, bytes: bytes.into() })
}

/// A key nobody knows may say one thing: a hello that carries its certificate.
fn introduce(sealed: &Sealed, charter: &SignedCharter, now: UnixSeconds) -> Result<(), Offence> {
    let message: Message = decode_control(&sealed.body).map_err(|_| Offence::Malformed)?;
    let Body::Hello(hello) = message.body else { return Err(Offence::NotMember) };
    let certificate = hello.certificate.ok_or(Offence::NotMember)?;
    let certificate = Certificate::open(&certificate, charter.charter()).map_err(|_| Offence::NotMember)?;
    if certificate.peer != sealed.signer {
        return Err(Offence::NotMember);
    }
    if certificate.holds(now) { Ok(()) } else { Err(Offence::Expired) }
}

fn makes_sense(body: &Body, run: &crate::id::RunId) -> bool {
    let step_ok = |step: OuterStep| step.0 <= STEPS_AHEAD_MAX;
    match body {
        Body::Announce(a) => {
            a.step.0 >= 1
                && step_ok(a.step)
                && (1..=crate::codec::MANIFEST_BYTES_MAX).contains(&(a.manifest_bytes as usize))
                && matches!(a.stage, Stage::Train | Stage::Settle)
        }
        Body::Hello(hello) => step_ok(hello.step) && hello.makes_sense(),
        Body::Card(card) => step_ok(card.step) && card.makes_sense(),
        Body::Revocation(_) => true, // judged against the charter by the roster
        Body::Proof(proof) => convicted(proof, run).is_some(),
        Body::Farewell(step) => step_ok(*step),
    }
}

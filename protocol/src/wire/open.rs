//! The single gate for gossip: bytes in, a verified message or an offence out.
//!
//! Checks run from cheap to dear: length, version, run, membership and quota, signature, schema, meaning. Replay is
//! judged by the roster, which knows what was heard. Nothing behind this gate sees unverified bytes.
//!
//! Quotas come twice, because the signer a message names is a claim until its signature was checked: whoever brought the
//! bytes pays in advance for checks that may fail, and the signer for those that held.

use std::sync::Arc;

use crate::codec::decode_control;
use crate::crypto::signed::Domain;
use crate::id::{OuterStep, PeerId};
use crate::limits::{GOSSIP_BYTES_MAX, STEPS_AHEAD_MAX};
use crate::time::UnixSeconds;
use crate::wire::charter::{Admission, Charter, SignedCharter};
use crate::wire::choice::Stage;
use crate::wire::credential::Credential;
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
    checks: u32,
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

    /// Signature checks it takes to believe it, those of what it carries included: its price.
    pub fn checks(&self) -> u32 {
        self.checks
    }
}

/// What the gate has to know of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A member that may be heard.
    Member,
    /// Nobody vouched for this key yet.
    Unknown,
    /// Not to be heard, and why.
    Refused(Offence),
}

/// Opens a gossip message.
///
/// `standing` tells what is known of the signer a message names, its own quota included; nothing is charged for it yet,
/// because anybody can write a name. `may_check` charges whoever brought the bytes for so many signature checks, and
/// answers whether they may be made. What the message cost when it held is [`Verified::checks`].
pub fn open(
    bytes: &[u8],
    charter: &SignedCharter,
    now: UnixSeconds,
    standing: impl FnOnce(&PeerId) -> Standing,
    may_check: impl FnOnce(u32) -> bool,
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
    let introduction = match (standing(&sealed.signer), &charter.charter().admission) {
        (Standing::Member, _) => None,
        // It may bring a newer certificate.
        (Standing::Refused(Offence::Expired), Admission::Invite) => {
            Some(introduction(&sealed, charter.charter(), now).map_err(|_| Offence::Expired)?)
        }
        (Standing::Refused(offence), _) => return Err(offence),
        // Under a charter that lists its members, the new key of one of them.
        (Standing::Unknown, Admission::Invite | Admission::Closed(_)) => {
            Some(introduction(&sealed, charter.charter(), now)?)
        }
    };
    let founders = &charter.charter().founders;
    let introducing = introduction.as_ref().map_or(0, |credential| credential.checks(founders));
    if !may_check(1 + introducing) {
        return Err(Offence::OverQuota);
    }
    sealed.verify(Domain::Message).map_err(|_| Offence::BadSignature)?;
    if let Some(credential) = &introduction {
        credential.open(charter.charter()).map_err(|_| Offence::NotMember)?;
    }
    let message: Message = decode_control(&sealed.body).map_err(|_| Offence::Malformed)?;
    if !makes_sense(&message.body, &charter.run()) {
        return Err(Offence::Meaningless);
    }
    let checks = 1 + introducing + message.body.checks(founders);
    Ok(Verified { value: message, signer: sealed.signer, bytes: bytes.into(), checks })
}

/// A key nobody knows may say one thing: a hello that carries its credential. What needs no signature is looked at
/// here: the credential names this key and holds today.
fn introduction(sealed: &Sealed, charter: &Charter, now: UnixSeconds) -> Result<Credential, Offence> {
    let message: Message = decode_control(&sealed.body).map_err(|_| Offence::Malformed)?;
    let Body::Hello(hello) = message.body else { return Err(Offence::NotMember) };
    let credential = hello.credential.ok_or(Offence::NotMember)?;
    let is_listing = matches!(charter.admission, Admission::Closed(_));
    if is_listing && !matches!(credential, Credential::Rotated(_)) {
        return Err(Offence::NotMember);
    }
    let claimed = credential.claim(charter).map_err(|_| Offence::NotMember)?;
    if claimed.peer != sealed.signer {
        return Err(Offence::NotMember);
    }
    if claimed.holds(now) { Ok(credential) } else { Err(Offence::Expired) }
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
        Body::Trials(trials) => trials.makes_sense(),
    }
}

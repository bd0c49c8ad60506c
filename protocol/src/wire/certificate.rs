//! Certificates, invitations, revocations and key rotation: who is a member beyond the charter's own list.

use bincode::{Decode, Encode};
use thiserror::Error;

use crate::codec::{CodecError, decode_control, decode_manifest};
use crate::crypto::hash::blake3_of;
use crate::crypto::keys::is_usable;
use crate::crypto::signed::Domain;
use crate::id::{Hash, PeerId, RunId};
use crate::limits::{REVOKED_MAX, ROTATION_GRACE_MAX};
use crate::time::UnixSeconds;
use crate::wire::charter::Charter;
use crate::wire::sealed::{CoSigned, Sealed};
use crate::wire::text::{BadText, check_name};

/// Binds a key to an organization for one run and a period; signed by the threshold of founders.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Certificate {
    /// The run it holds for.
    pub run: RunId,
    /// The key.
    pub peer: PeerId,
    /// Who runs the node.
    pub organization: String,
    /// First second it holds.
    pub not_before: UnixSeconds,
    /// First second it no longer holds.
    pub not_after: UnixSeconds,
}

/// Leave for one node, the issuer, to make one key a member; signed by the threshold of founders before that key is known.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Invitation {
    /// The run it holds for.
    pub run: RunId,
    /// The node at which it is redeemed, once.
    pub issuer: PeerId,
    /// Hash of the secret that the invited organization was given.
    pub token: Hash,
    /// Who will run the node.
    pub organization: String,
    /// First second at which it can no longer be redeemed.
    pub redeem_until: UnixSeconds,
    /// First second at which the membership no longer holds.
    pub not_after: UnixSeconds,
}

/// The issuer's word that a key redeemed an invitation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Binding {
    /// Hash of the invitation's signed body.
    pub invitation: Hash,
    /// The key.
    pub peer: PeerId,
    /// When.
    pub from: UnixSeconds,
}

/// Keys that are members no more; a higher version replaces a lower one. Signed by the threshold of founders.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Revocation {
    /// The run it holds for.
    pub run: RunId,
    /// Counts up from 1.
    pub version: u32,
    /// Revoked keys, sorted, each once. Every version repeats the earlier ones: a key stays revoked.
    pub revoked: Vec<PeerId>,
}

/// A member's new key; signed by the old one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Rotation {
    /// The run it holds for.
    pub run: RunId,
    /// The key that signs this and then rests.
    pub old: PeerId,
    /// The key that takes its place.
    pub new: PeerId,
    /// From when the new key speaks.
    pub from: UnixSeconds,
    /// Until when the old key is still heard.
    pub old_until: UnixSeconds,
}

/// A credential that does not hold.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CredentialError {
    /// The bytes do not decode.
    #[error("the credential does not decode: {0}")]
    Codec(#[from] CodecError),
    /// A name cannot be shown.
    #[error("the credential holds a bad name: {0}")]
    Text(#[from] BadText),
    /// Another run.
    #[error("expected a credential for run {}, found one for {}", .expected.short(), .found.short())]
    OtherRun {
        /// Ours.
        expected: RunId,
        /// Theirs.
        found: RunId,
    },
    /// Too few founders signed.
    #[error("expected signatures of {expected} founders, found {found} that hold")]
    Signatures {
        /// The threshold.
        expected: u32,
        /// Valid signatures.
        found: u32,
    },
    /// The contents make no sense.
    #[error("the credential makes no sense: {0}")]
    Meaningless(&'static str),
}

fn enough(sealed: &CoSigned, domain: Domain, charter: &Charter) -> Result<(), CredentialError> {
    let found = sealed.valid_signers(domain, &charter.founders).len() as u32;
    if found < charter.threshold {
        return Err(CredentialError::Signatures { expected: charter.threshold, found });
    }
    Ok(())
}

fn same_run(charter: &Charter, found: RunId) -> Result<(), CredentialError> {
    let expected = charter.run_id();
    if found != expected {
        return Err(CredentialError::OtherRun { expected, found });
    }
    Ok(())
}

impl Certificate {
    /// Checks a certificate against the charter; whether it holds today is [`Certificate::holds`].
    pub fn open(sealed: &CoSigned, charter: &Charter) -> Result<Self, CredentialError> {
        let certificate: Self = decode_control(&sealed.body)?;
        same_run(charter, certificate.run)?;
        check_name("organization", &certificate.organization)?;
        if !is_usable(&certificate.peer) {
            return Err(CredentialError::Meaningless("its key is no ed25519 public key"));
        }
        if certificate.not_after <= certificate.not_before {
            return Err(CredentialError::Meaningless("it ends before it begins"));
        }
        enough(sealed, Domain::Certificate, charter)?;
        Ok(certificate)
    }

    /// Whether it holds at this date.
    pub fn holds(&self, now: UnixSeconds) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

impl Invitation {
    /// The hash a secret must have.
    pub fn token_of(secret: &[u8; 32]) -> Hash {
        blake3_of("starling/invitation/token/1", &[secret])
    }

    /// Checks an invitation against the charter; whether it can be redeemed today is for its issuer to say.
    pub fn open(sealed: &CoSigned, charter: &Charter) -> Result<Self, CredentialError> {
        let invitation: Self = decode_control(&sealed.body)?;
        same_run(charter, invitation.run)?;
        check_name("organization", &invitation.organization)?;
        if !is_usable(&invitation.issuer) {
            return Err(CredentialError::Meaningless("its issuer is no ed25519 public key"));
        }
        if invitation.not_after < invitation.redeem_until {
            return Err(CredentialError::Meaningless("its membership ends before it can be redeemed"));
        }
        enough(sealed, Domain::Invitation, charter)?;
        Ok(invitation)
    }
}

impl Revocation {
    /// Checks a revocation list against the charter.
    pub fn open(sealed: &CoSigned, charter: &Charter) -> Result<Self, CredentialError> {
        let list: Self = decode_manifest(&sealed.body)?;
        same_run(charter, list.run)?;
        if list.version == 0 || list.revoked.len() > REVOKED_MAX {
            return Err(CredentialError::Meaningless("its version is 0 or it lists too many keys"));
        }
        if !list.revoked.is_sorted_by(|a, b| a < b) {
            return Err(CredentialError::Meaningless("its keys are not sorted, each once"));
        }
        enough(sealed, Domain::Revocation, charter)?;
        Ok(list)
    }
}

impl Rotation {
    /// Checks a rotation: it is signed by the old key, for this run.
    pub fn open(sealed: &Sealed, charter: &Charter) -> Result<Self, CredentialError> {
        let rotation: Self = decode_control(&sealed.body)?;
        same_run(charter, rotation.run)?;
        if rotation.old != sealed.signer || rotation.old == rotation.new || !is_usable(&rotation.new) {
            return Err(CredentialError::Meaningless("it is not the old key that names a new one"));
        }
        if rotation.old_until < rotation.from {
            return Err(CredentialError::Meaningless("the old key rests before the new one speaks"));
        }
        if rotation.old_until.0 - rotation.from.0 > ROTATION_GRACE_MAX {
            return Err(CredentialError::Meaningless("the old key is heard for more than 30 days"));
        }
        sealed.verify(Domain::Rotation).map_err(|_| CredentialError::Signatures { expected: 1, found: 0 })?;
        Ok(rotation)
    }
}

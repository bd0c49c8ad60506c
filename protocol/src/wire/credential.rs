//! What makes a key a member beyond the charter's own list: the founders' word, an invitation that was used, or a change
//! of key.
//!
//! A change of key needs nobody else: the old key signs, no founder does, and no other member does anything. It is for a
//! key that is still one's own; a key that somebody else may have is revoked.

use bincode::{Decode, Encode};

use crate::codec::decode_control;
use crate::crypto::hash::content_hash;
use crate::crypto::keys::is_usable;
use crate::crypto::signed::Domain;
use crate::id::PeerId;
use crate::limits::ROTATIONS_MAX;
use crate::time::UnixSeconds;
use crate::wire::certificate::{Binding, Certificate, CredentialError, Invitation, Rotation};
use crate::wire::charter::{Admission, Charter};
use crate::wire::sealed::{CoSigned, Sealed};

/// What makes a key a member beyond the charter's own list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Credential {
    /// The founders named the key.
    Certificate(CoSigned),
    /// The founders invited an organization, and the issuer names the key.
    Invited {
        /// The [`Invitation`].
        invitation: CoSigned,
        /// The [`Binding`].
        binding: Sealed,
    },
    /// A member took this key in place of an earlier one.
    Rotated(Box<Rotated>),
}

/// How a member's first key was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Admitted {
    /// The charter lists it.
    Listed(PeerId),
    /// The founders named it.
    Certificate(CoSigned),
    /// The founders invited an organization, and the issuer named it.
    Invited {
        /// The invitation.
        invitation: CoSigned,
        /// The issuer's binding.
        binding: Sealed,
    },
}

/// What makes a member's present key a member.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Rotated {
    /// How its first key was admitted.
    pub admitted: Admitted,
    /// [`Rotation`]s, oldest first, each signed by the key it replaces.
    pub rotations: Vec<Sealed>,
}

impl Credential {
    /// The certificate it stands for, checked against the charter; whether it holds today is [`Certificate::holds`].
    pub fn open(&self, charter: &Charter) -> Result<Certificate, CredentialError> {
        match self {
            Self::Certificate(sealed) => Certificate::open(sealed, charter),
            Self::Rotated(rotated) => rotated.open(charter),
            Self::Invited { invitation, binding } => {
                let certificate = self.claim(charter)?;
                let opened = Invitation::open(invitation, charter)?;
                if binding.signer != opened.issuer || binding.verify(Domain::Binding).is_err() {
                    return Err(CredentialError::Signatures { expected: 1, found: 0 });
                }
                if !is_usable(&certificate.peer) {
                    return Err(CredentialError::Meaningless("its key is no ed25519 public key"));
                }
                Ok(certificate)
            }
        }
    }

    /// What it says, before any signature was checked.
    pub fn claim(&self, charter: &Charter) -> Result<Certificate, CredentialError> {
        match self {
            Self::Rotated(rotated) => rotated.claim(charter),
            Self::Certificate(sealed) => Ok(decode_control(&sealed.body)?),
            Self::Invited { invitation, binding } => {
                let invited: Invitation = decode_control(&invitation.body)?;
                let bound: Binding = decode_control(&binding.body)?;
                if bound.invitation != content_hash(&invitation.body) {
                    return Err(CredentialError::Meaningless("its binding is of another invitation"));
                }
                if bound.from >= invited.redeem_until {
                    return Err(CredentialError::Meaningless("it was redeemed too late"));
                }
                Ok(Certificate {
                    run: invited.run,
                    peer: bound.peer,
                    organization: invited.organization,
                    not_before: bound.from,
                    not_after: invited.not_after,
                })
            }
        }
    }

    /// Signatures that have to be checked before it is believed.
    pub fn checks(&self, founders: &[PeerId]) -> u32 {
        match self {
            Self::Certificate(sealed) => sealed.checks(founders),
            Self::Invited { invitation, .. } => invitation.checks(founders) + 1,
            Self::Rotated(rotated) => rotated.checks(founders),
        }
    }
}

impl Admitted {
    fn credential(&self) -> Option<Credential> {
        match self {
            Self::Listed(_) => None,
            Self::Certificate(sealed) => Some(Credential::Certificate(sealed.clone())),
            Self::Invited { invitation, binding } => {
                Some(Credential::Invited { invitation: invitation.clone(), binding: binding.clone() })
            }
        }
    }

    /// A key of the charter's own list, as if it were certified for as long as the charter holds.
    fn listed(peer: PeerId, charter: &Charter) -> Result<Certificate, CredentialError> {
        let Admission::Closed(members) = &charter.admission else {
            return Err(CredentialError::Meaningless("the charter lists no members"));
        };
        let member = members.iter().find(|member| member.peer == peer);
        let member = member.ok_or(CredentialError::Meaningless("the charter does not list its first key"))?;
        Ok(Certificate {
            run: charter.run_id(),
            peer,
            organization: member.organization.clone(),
            not_before: UnixSeconds(0),
            not_after: charter.expires,
        })
    }

    fn certificate(
        &self,
        charter: &Charter,
        look: impl FnOnce(&Credential) -> Result<Certificate, CredentialError>,
    ) -> Result<Certificate, CredentialError> {
        match (self, self.credential()) {
            (Self::Listed(peer), _) => Self::listed(*peer, charter),
            (_, Some(credential)) if matches!(charter.admission, Admission::Invite) => look(&credential),
            _ => Err(CredentialError::Meaningless("the charter admits by its own list only")),
        }
    }
}

impl Rotated {
    /// The credential of the key that follows: this one's, and one change more.
    pub fn next(admitted: Option<&Credential>, old: PeerId, rotation: Sealed) -> Self {
        match admitted {
            None => Self { admitted: Admitted::Listed(old), rotations: vec![rotation] },
            Some(Credential::Certificate(sealed)) => {
                Self { admitted: Admitted::Certificate(sealed.clone()), rotations: vec![rotation] }
            }
            Some(Credential::Invited { invitation, binding }) => {
                let (invitation, binding) = (invitation.clone(), binding.clone());
                Self { admitted: Admitted::Invited { invitation, binding }, rotations: vec![rotation] }
            }
            Some(Credential::Rotated(earlier)) => {
                let mut next = (**earlier).clone();
                next.rotations.push(rotation);
                next
            }
        }
    }

    /// Checks every signature; answers the certificate of the newest key.
    pub(super) fn open(&self, charter: &Charter) -> Result<Certificate, CredentialError> {
        let claimed = self.claim(charter)?;
        self.admitted.certificate(charter, |credential| credential.open(charter))?;
        for sealed in &self.rotations {
            Rotation::open(sealed, charter)?;
        }
        Ok(claimed)
    }

    /// What it says, before any signature was checked.
    pub(super) fn claim(&self, charter: &Charter) -> Result<Certificate, CredentialError> {
        if self.rotations.is_empty() || self.rotations.len() > ROTATIONS_MAX {
            return Err(CredentialError::Meaningless("it holds no change of keys, or too many"));
        }
        let mut certificate = self.admitted.certificate(charter, |credential| credential.claim(charter))?;
        let mut keys = vec![certificate.peer];
        for sealed in &self.rotations {
            let rotation: Rotation = decode_control(&sealed.body)?;
            if rotation.old != certificate.peer || keys.contains(&rotation.new) {
                return Err(CredentialError::Meaningless("its keys do not follow each other"));
            }
            certificate.peer = rotation.new;
            certificate.not_before = certificate.not_before.max(rotation.from);
            keys.push(rotation.new);
        }
        Ok(certificate)
    }

    /// Earlier keys, oldest first: which key took the place of each, and until when it is still heard.
    pub fn earlier(&self) -> Vec<(PeerId, PeerId, UnixSeconds)> {
        let rotation = |sealed: &Sealed| {
            let rotation: Rotation = decode_control(&sealed.body).ok()?;
            Some((rotation.old, rotation.new, rotation.old_until))
        };
        self.rotations.iter().filter_map(rotation).collect()
    }

    pub(super) fn checks(&self, founders: &[PeerId]) -> u32 {
        self.admitted.credential().map_or(0, |credential| credential.checks(founders))
            + self.rotations.len() as u32
    }
}

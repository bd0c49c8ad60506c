//! Who may be heard: the charter's list, certificates, revocations and bans.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::PeerId;
use crate::limits::{ROSTER_MAX, ROTATIONS_MAX};
use crate::time::UnixSeconds;
use crate::wire::certificate::{Certificate, Revocation};
use crate::wire::charter::{Charter, SignedCharter};
use crate::wire::credential::Credential;
use crate::wire::offence::Offence;
use crate::wire::open::Standing;
use crate::wire::sealed::CoSigned;

/// Credentials and bans of one run.
#[derive(Clone, Debug)]
pub struct AdmissionBook {
    charter: SignedCharter,
    certificates: BTreeMap<PeerId, (Certificate, Credential)>,
    /// Keys whose owner took another: which, and until when the old one is heard.
    rested: BTreeMap<PeerId, (PeerId, UnixSeconds)>,
    revocation: Option<(Revocation, CoSigned)>,
    banned: BTreeSet<PeerId>,
}

impl AdmissionBook {
    /// A book that knows the charter only.
    pub fn new(charter: SignedCharter) -> Self {
        Self {
            charter,
            certificates: BTreeMap::new(),
            rested: BTreeMap::new(),
            revocation: None,
            banned: BTreeSet::new(),
        }
    }

    /// The charter in force.
    pub fn signed_charter(&self) -> &SignedCharter {
        &self.charter
    }

    /// The charter in force.
    pub fn charter(&self) -> &Charter {
        self.charter.charter()
    }

    /// Whether the peer may take part today, quota aside.
    pub fn standing(&self, peer: &PeerId, today: UnixSeconds) -> Standing {
        // Who cheated under one key, or was revoked, does not come back under the next.
        if self.keys_of(peer).any(|key| self.banned.contains(&key)) {
            return Standing::Refused(Offence::Equivocated);
        }
        if self.is_revoked(peer) {
            return Standing::Refused(Offence::Revoked);
        }
        if self.rested.get(peer).is_some_and(|(_, until)| *until <= today) {
            return Standing::Refused(Offence::Expired);
        }
        if self.charter.listed(peer).is_some() {
            return Standing::Member;
        }
        match self.certificates.get(peer) {
            Some((certificate, _)) if certificate.holds(today) => Standing::Member,
            Some(_) => Standing::Refused(Offence::Expired),
            None => Standing::Unknown,
        }
    }

    /// Takes in a credential that came with a hello; false when it does not hold or the book is full.
    pub fn take_credential(&mut self, peer: &PeerId, credential: &Credential, today: UnixSeconds) -> bool {
        if self.certificates.get(peer).is_some_and(|(_, known)| known == credential) {
            return true;
        }
        let Ok(certificate) = credential.open(self.charter()) else { return false };
        if certificate.peer != *peer || !certificate.holds(today) || self.certificates.len() >= ROSTER_MAX {
            return false;
        }
        if let Credential::Rotated(rotated) = credential {
            let earlier = rotated.earlier();
            // Of two keys that one key names, the one that was heard of first stays.
            if earlier.iter().any(|(old, new, _)| self.rested.get(old).is_some_and(|(known, _)| known != new))
            {
                return false;
            }
            self.rested.extend(earlier.into_iter().map(|(old, new, until)| (old, (new, until))));
        }
        self.certificates.insert(*peer, (certificate, credential.clone()));
        true
    }

    /// The keys its owner had, has and took since: the key itself, those before it, those after it.
    fn keys_of(&self, peer: &PeerId) -> impl Iterator<Item = PeerId> {
        let earlier = match self.certificates.get(peer) {
            Some((_, Credential::Rotated(rotated))) => rotated.earlier(),
            _ => Vec::new(),
        };
        let after = |key: &PeerId| self.rested.get(key).map(|(next, _)| *next);
        std::iter::successors(Some(*peer), after)
            .take(ROTATIONS_MAX + 1)
            .chain(earlier.into_iter().map(|(old, ..)| old))
    }

    /// Takes in a revocation list; true when it is newer than the one in force and holds.
    pub fn take_revocation(&mut self, sealed: &CoSigned) -> Result<bool, Offence> {
        // Everybody repeats the list in force with every hello: it is checked once.
        if self.revocation.as_ref().is_some_and(|(_, known)| known == sealed) {
            return Ok(false);
        }
        let list = Revocation::open(sealed, self.charter()).map_err(|_| Offence::Meaningless)?;
        if let Some((current, _)) = &self.revocation {
            if list.version <= current.version {
                return Ok(false);
            }
            // A key stays revoked: a newer list that forgets one is not believed.
            if !current.revoked.iter().all(|peer| list.revoked.binary_search(peer).is_ok()) {
                return Err(Offence::Meaningless);
            }
        }
        // Everybody repeats it in words of its own: without what a stranger added to it, it fits a message of any sequence.
        let kept = sealed.with_signatures_of(&self.charter().founders);
        self.revocation = Some((list, kept));
        Ok(true)
    }

    /// The revocation list in force.
    pub fn revocation(&self) -> Option<&CoSigned> {
        self.revocation.as_ref().map(|(_, sealed)| sealed)
    }

    /// Version of the revocation list in force; 0 for none.
    pub fn revocation_version(&self) -> u32 {
        self.revocation.as_ref().map_or(0, |(list, _)| list.version)
    }

    /// Whether the key was revoked, or one its owner had before or took since.
    pub fn is_revoked(&self, peer: &PeerId) -> bool {
        let Some((list, _)) = &self.revocation else { return false };
        self.keys_of(peer).any(|key| list.revoked.binary_search(&key).is_ok())
    }

    /// Shuts a key out; answers whether that is new.
    pub fn ban(&mut self, peer: PeerId) -> bool {
        self.banned.insert(peer)
    }

    /// Lets a key back in, by an operator's word.
    pub fn unban(&mut self, peer: &PeerId) -> bool {
        self.banned.remove(peer)
    }

    /// Whether a key is shut out.
    pub fn has_banned(&self, peer: &PeerId) -> bool {
        self.banned.contains(peer)
    }

    /// Banned keys.
    pub fn banned(&self) -> impl Iterator<Item = &PeerId> {
        self.banned.iter()
    }

    /// The organization behind a key, as charter or certificate state it.
    pub fn organization(&self, peer: &PeerId) -> Option<&str> {
        self.charter
            .listed(peer)
            .or_else(|| self.certificates.get(peer).map(|(c, _)| c.organization.as_str()))
    }
}

//! Judging a proof of equivocation: two different things one key signed for one outer step.

use crate::codec::{decode_control, decode_manifest};
use crate::crypto::hash::content_hash;
use crate::crypto::signed::Domain;
use crate::id::{Hash, OuterStep, PeerId, RunId};
use crate::wire::announce::Proof;
use crate::wire::manifest::Manifest;
use crate::wire::message::{Body, Message};
use crate::wire::sealed::Sealed;

/// The peer a proof convicts, when it holds for this run.
pub fn convicted(proof: &Proof, run: &RunId) -> Option<PeerId> {
    let (a, b, domain) = match proof {
        Proof::Announces(a, b) => (a, b, Domain::Message),
        Proof::Manifests(a, b) => (a, b, Domain::Manifest),
    };
    let claims = [claim(a, domain, run)?, claim(b, domain, run)?];
    let differ = claims[0].0 == claims[1].0 && claims[0].1 != claims[1].1;
    let hold = a.signer == b.signer && differ && a.verify(domain).is_ok() && b.verify(domain).is_ok();
    hold.then_some(a.signer)
}

/// The step a sealed thing speaks of, and the hash of what it says.
fn claim(sealed: &Sealed, domain: Domain, run: &RunId) -> Option<(OuterStep, Hash)> {
    if domain == Domain::Manifest {
        let manifest: Manifest = decode_manifest(&sealed.body).ok()?;
        return (manifest.run == *run).then(|| (manifest.step, content_hash(&sealed.body)));
    }
    let message: Message = decode_control(&sealed.body).ok()?;
    match message.body {
        Body::Announce(announce) if message.run == *run => Some((announce.step, announce.manifest)),
        _ => None,
    }
}

//! What hostile bytes may make a peer allocate, measured by counting.
//!
//! It has a test binary of its own, and one test, because the count is of the whole process.

// The one place in this crate's tests that implements an unsafe trait: a counter has to stand where memory is given out.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

#[path = "hostile/fixture.rs"]
#[allow(dead_code, reason = "this binary needs a part of the fixture")]
mod fixture;

use protocol::codec::{CONTROL_BYTES_MAX, MANIFEST_BYTES_MAX, encode};
use protocol::crypto::signed::Domain;
use protocol::limits::{GOSSIP_BYTES_MAX, REQUEST_BYTES_MAX};
use protocol::wire::charter::SignedCharter;
use protocol::wire::choice::Codec;
use protocol::wire::message::Body;
use protocol::wire::request::Request;
use protocol::wire::sealed::Sealed;

use crate::fixture::{fetched, hear, hello, keys, manifest, message, run_id};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn given(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: every call is passed to the system's allocator unchanged; the counters touch no memory it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        given(layout.size());
        // SAFETY: the caller keeps this function's contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above; `memory` came from `alloc`, which is the system's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes held at once while `work` ran, beyond those held before.
fn most_held(work: impl FnOnce()) -> usize {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    work();
    MOST.load(Ordering::Relaxed) - before
}

/// A body that is signed properly and lies about a length inside.
fn lying_body(start: &[u8], length: u64, domain: Domain) -> Vec<u8> {
    let body = [start, &[253], &length.to_le_bytes(), &[0; 10]].concat();
    let signature = keys(4).sign(domain, &body);
    Sealed { signer: keys(4).peer(), body, signature }.to_bytes()
}

#[test]
fn hostile_bytes_allocate_no_more_than_their_class_may() {
    // Beside the message itself: the charter of the fixture is built anew in every check, some tens of kilobytes.
    let spare = 64 << 10;
    let head = [&[1u8][..], &run_id().0.0, &[1]].concat();
    // A hello's name; a list of addresses; the shards of a manifest.
    let in_name = [&head[..], &[1]].concat();
    let in_addresses = [&head[..], &[1, 1, b'x']].concat();
    let manifest_start = {
        let body = encode(&manifest());
        // version, run, step, parent, stage, codec, inner steps, samples (160 fits one byte)
        let up_to_shards = 1 + 32 + 1 + 32 + 4;
        body[..up_to_shards].to_vec()
    };
    for length in [u64::MAX, 1 << 40, u64::from(u32::MAX), 1 << 28, 1 << 24, 1 << 22, 1 << 20, 1 << 16] {
        let envelope = [&keys(4).peer().0[..], &[253], &length.to_le_bytes(), &[1; 10]].concat();
        let cap = 4 * CONTROL_BYTES_MAX + spare;
        for (what, bytes) in [
            ("an envelope", envelope.clone()),
            ("a name", lying_body(&in_name, length, Domain::Message)),
            ("addresses", lying_body(&in_addresses, length, Domain::Message)),
        ] {
            let most = most_held(|| assert!(hear(&bytes).is_err()));
            assert!(most <= cap, "gossip with a lie of {length} in {what} held {most} bytes");
        }
        let request = [&[1u8][..], &run_id().0.0, &[2], &[1; 32], &[253], &length.to_le_bytes()].concat();
        let most = most_held(|| assert!(Request::open(&request, &run_id()).is_err()));
        assert!(most <= cap, "a request with a lie of {length} held {most} bytes");
        let cap = 4 * MANIFEST_BYTES_MAX + spare;
        for bytes in [envelope, lying_body(&manifest_start, length, Domain::Manifest)] {
            let most = most_held(|| assert!(fetched(&bytes).is_err()));
            assert!(most <= cap, "a manifest with a lie of {length} held {most} bytes");
            let most = most_held(|| assert!(SignedCharter::open(&bytes).is_err()));
            assert!(most <= cap, "a charter with a lie of {length} held {most} bytes");
        }
    }
    // What is over its cap is refused before anything is made of it.
    let long = vec![0u8; 32 << 20];
    let most = most_held(|| assert!(hear(&long[..=GOSSIP_BYTES_MAX]).is_err()));
    assert!(most <= spare, "long gossip held {most} bytes");
    let most = most_held(|| assert!(Request::open(&long[..=REQUEST_BYTES_MAX], &run_id()).is_err()));
    assert!(most <= spare, "a long request held {most} bytes");
    let most = most_held(|| assert!(fetched(&long).is_err()));
    assert!(most <= spare, "a long manifest held {most} bytes");
    // A shard is as long as its number of values asks, and is read where the reader made room.
    let (own, mut values) = (vec![0.0; 1 << 20], vec![0.0; 1 << 20]);
    let rubbish = vec![0x3c; Codec::Topk.encoded_bytes(own.len())];
    let most = most_held(|| assert!(Codec::Topk.decode_near(&rubbish, &own, &mut values).is_err()));
    assert!(most <= spare, "a sparse shard of rubbish held {most} bytes");
    // The counter counts: a good message is held, and one of its bodies is.
    let bytes = message(Body::Hello(hello())).seal(&keys(4));
    assert!(most_held(|| assert!(hear(&bytes).is_ok())) >= bytes.len());
    assert!(most_held(|| drop(vec![0u8; 1 << 20])) >= 1 << 20);
}

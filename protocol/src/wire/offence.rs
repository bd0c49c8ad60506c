//! What a peer can do wrong: data, counted, never an error of ours.

use bincode::{Decode, Encode};
use serde::Serialize;

/// One kind of wrong, with what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Offence {
    /// More bytes than the class of message may have.
    TooLong,
    /// Made for a version of the protocol this peer does not speak.
    UnknownVersion,
    /// Made for another run.
    OtherRun,
    /// The sender is no member.
    NotMember,
    /// The sender's certificate ran out or does not hold yet.
    Expired,
    /// The sender was revoked.
    Revoked,
    /// The sender asks or says more than its share.
    OverQuota,
    /// The signature does not hold.
    BadSignature,
    /// A message that was heard before, or older than one heard before.
    Replayed,
    /// The bytes do not decode to their one form.
    Malformed,
    /// The values make no sense together or lie outside what the charter allows.
    Meaningless,
    /// The bytes are not those whose hash was asked for.
    WrongContent,
    /// The signer is not the peer the thing speaks of.
    NotTheAuthor,
    /// A shard decodes to something that is no number, or too far away to be believed.
    Implausible,
    /// Announced and then not served.
    Withheld,
    /// Signed two different things for one outer step: proven malice.
    Equivocated,
}

/// How a peer that did this is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reaction {
    /// Nothing but a count.
    Ignore,
    /// Refuse, count, lower the score; the link stays.
    Reject,
    /// Refuse and hang up.
    Disconnect,
    /// Ban the key; only for proven malice.
    Ban,
}

impl Offence {
    /// Every kind, in order.
    pub const ALL: [Self; 16] = [
        Self::TooLong,
        Self::UnknownVersion,
        Self::OtherRun,
        Self::NotMember,
        Self::Expired,
        Self::Revoked,
        Self::OverQuota,
        Self::BadSignature,
        Self::Replayed,
        Self::Malformed,
        Self::Meaningless,
        Self::WrongContent,
        Self::NotTheAuthor,
        Self::Implausible,
        Self::Withheld,
        Self::Equivocated,
    ];

    /// How it is met.
    pub const fn reaction(self) -> Reaction {
        match self {
            Self::Replayed => Reaction::Ignore,
            Self::UnknownVersion
            | Self::OtherRun
            | Self::OverQuota
            | Self::BadSignature
            | Self::TooLong
            | Self::Malformed
            | Self::Meaningless
            | Self::WrongContent
            | Self::NotTheAuthor
            | Self::Implausible
            | Self::Withheld => Reaction::Reject,
            Self::NotMember | Self::Expired | Self::Revoked => Reaction::Disconnect,
            Self::Equivocated => Reaction::Ban,
        }
    }

    /// Points taken from the behaviour score (100 is a clean record).
    pub const fn cost(self) -> f32 {
        match self {
            // Not a member: there is no score to lower.
            Self::Replayed | Self::NotMember | Self::Expired | Self::Revoked => 0.0,
            // Slow or lossy links look the same as withholding, so it costs little.
            Self::Withheld | Self::UnknownVersion | Self::OtherRun => 2.0,
            Self::OverQuota | Self::TooLong => 5.0,
            Self::Malformed | Self::WrongContent | Self::Meaningless | Self::Implausible => 10.0,
            Self::BadSignature | Self::NotTheAuthor => 20.0,
            Self::Equivocated => 100.0,
        }
    }

    /// The name in events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::UnknownVersion => "unknown_version",
            Self::OtherRun => "other_run",
            Self::NotMember => "not_member",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::OverQuota => "over_quota",
            Self::BadSignature => "bad_signature",
            Self::Replayed => "replayed",
            Self::Malformed => "malformed",
            Self::Meaningless => "meaningless",
            Self::WrongContent => "wrong_content",
            Self::NotTheAuthor => "not_the_author",
            Self::Implausible => "implausible",
            Self::Withheld => "withheld",
            Self::Equivocated => "equivocated",
        }
    }
}

impl std::fmt::Display for Offence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

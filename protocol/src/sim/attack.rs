//! What liars do, by name.

use serde::{Deserialize, Serialize};

use crate::sim::bounds::{ScenarioError, need, share};

/// Some peers that lie in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdversaryTerms {
    /// How they lie.
    pub attack: Attack,
    /// Share of the peers.
    pub share: f64,
    /// How strongly, where the attack has a strength; the attack's own default without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
}

macro_rules! attacks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $strength:expr;)*) => {
        /// A way to lie.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Attack { $($(#[$doc])* #[serde(rename = $name)] $variant),* }
        impl Attack {
            /// Every attack, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The name people write.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            /// The strength without one stated.
            pub const fn strength(self) -> f64 { match self { $(Self::$variant => $strength),* } }
        }
    };
}

attacks! {
    /// The own delta with its sign turned, times the strength.
    SignFlip = "sign-flip", 1.0;
    /// The own delta times the strength.
    Scale = "scale", 100.0;
    /// A little is enough: the honest mean minus the strength in honest standard deviations, per coordinate.
    Alie = "alie", 1.5;
    /// Inner-product manipulation: minus the strength times the honest mean.
    Ipm = "ipm", 0.5;
    /// Two updates for one step, each pulling its half of the swarm away from the other; needs equivocation.
    Dissensus = "dissensus", 1.0;
    /// Trained on labels counted backwards.
    LabelFlip = "label-flip", 1.0;
    /// The own delta plus noise of the strength times its size.
    Noise = "noise", 1.0;
    /// A delta of zeros: genesis.
    Zero = "zero", 1.0;
    /// The update of one honest peer, always the same one, with noise of the strength in honest standard deviations.
    Mimic = "mimic", 0.0;
    /// The own first update, again and again.
    Stale = "stale", 1.0;
    /// Infinite and not-a-number values where the codec lets them be written.
    NotFinite = "not-finite", 1.0;
    /// What was mixed, without training.
    FreeRider = "free-rider", 1.0;
    /// Two announcements for one step, to different halves, with honest contents.
    Equivocator = "equivocator", 1.0;
    /// Announced and never served.
    Withholder = "withholder", 1.0;
    /// Valid messages, the strength a second, to everybody, and as many bytes of rubbish.
    Flooder = "flooder", 50.0;
    /// Messages of others, said again.
    Replay = "replay", 1.0;
    /// Answers that take the strength in seconds.
    SlowLoris = "slow-loris", 1000.0;
    /// Many keys of one organization, each with its sign turned.
    Sybil = "sybil", 1.0;
}

impl AdversaryTerms {
    /// The strength that counts.
    pub fn strength(&self) -> f64 {
        self.strength.unwrap_or(self.attack.strength())
    }

    /// Checks the fields.
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        let strength = self.strength();
        need((0.0..=1e9).contains(&strength), "adversary.strength", "0 to 1000000000", strength)?;
        share("adversary.share", self.share)
    }
}

//! Replay protection that tolerates reordering: the highest sequence and a window of 64 below it.

/// Sequences of one sender that were heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    highest: u64,
    /// Bit i: `highest - i` was heard.
    heard: u64,
}

impl ReplayWindow {
    /// Notes a sequence; false when it was heard before or is too old to tell.
    pub fn admit(&mut self, sequence: u64) -> bool {
        if self.heard == 0 || sequence > self.highest {
            let ahead = sequence.saturating_sub(self.highest);
            let kept = if self.heard == 0 || ahead >= 64 { 0 } else { self.heard << ahead };
            *self = Self { highest: sequence, heard: kept | 1 };
            return true;
        }
        let behind = self.highest - sequence;
        if behind >= 64 || self.heard >> behind & 1 == 1 {
            return false;
        }
        self.heard |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sequence_is_admitted_once_in_any_order() {
        let mut window = ReplayWindow::default();
        for sequence in [5, 3, 4, 9, 0, 7, 200, 199, 137] {
            assert!(window.admit(sequence), "{sequence}");
            assert!(!window.admit(sequence), "{sequence} again");
        }
        assert!(!window.admit(136), "too old to tell");
    }
}

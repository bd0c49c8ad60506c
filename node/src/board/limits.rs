//! Caps of everything a page remembers, so that months of records and crowds of peers cost a bounded memory.

/// Nodes a story remembers; as many as one node may be linked to, and then some.
pub const NODES_MAX: usize = 256;

/// Points of one curve; beyond them neighbours are averaged.
pub const POINTS_MAX: usize = 240;

/// Pairs of nodes whose exchange is remembered.
pub const PAIRS_MAX: usize = 4_096;

/// Nodes placed on the map of models; the distances grow with the square of it.
pub const PLACED_MAX: usize = 64;

/// Records of the ledger shown.
pub const LEDGER_TAIL: usize = 40;

/// Happenings shown.
pub const HAPPENINGS_MAX: usize = 40;

/// Kinds of refusals counted; the protocol knows 16.
pub const REASONS_MAX: usize = 32;

/// Highest staleness told apart; older ones count as this one.
pub const STALENESS_MAX: u32 = 32;

/// Bytes read from the end of each record file when a story is told again.
pub const RECORDS_BYTES_MAX: u64 = 16 << 20;

// The curve halves itself when full, so it needs room for at least one pair.
const _: () = assert!(POINTS_MAX >= 2 && POINTS_MAX.is_multiple_of(2));

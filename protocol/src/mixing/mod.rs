//! Mathematics of the protocol.

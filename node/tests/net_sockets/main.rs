//! The network room over real sockets of the loopback interface: several nodes in one process, ports chosen by the
//! system, no sleeping to wait for anything.

mod gossiping;
mod hostile;
mod linking;
mod pulling;
mod starting;
mod support;

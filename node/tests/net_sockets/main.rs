//! The network room over real sockets of the loopback interface: several nodes in one process, ports chosen by the
//! system, no sleeping to wait for anything.

mod control;
mod gossiping;
mod hostile;
mod lans;
mod linking;
mod pulling;
mod routers;
mod starting;
mod support;
mod table;

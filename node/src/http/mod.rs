//! The local web server of a node: health, metrics, a small API and the dashboard.
//!
//! It exists so that people, Prometheus and load balancers can watch a node without a shell. It listens on loopback
//! unless told otherwise, and it deliberately knows no driver: it reads a [`Feed`](crate::board::feed::Feed) and hands
//! commands to a channel.

pub mod answer;
pub mod command;
pub mod count;
pub mod error;
pub mod events;
pub mod exposition;
pub mod guard;
pub mod limits;
pub mod metrics;
pub mod router;
pub mod server;
pub mod site;
pub mod streaming;
pub mod token;

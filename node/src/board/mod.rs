//! What people look at: the story of a run as records tell it, and one page that shows it.
//!
//! It exists so that the live dashboard, the observer's view and a report of a finished run are the same page over the
//! same records. It deliberately knows no socket and no driver: lines of the record files go in, HTML comes out.

pub mod affinity;
pub mod curve;
pub mod export;
pub mod feed;
pub mod figures;
pub mod flock;
pub mod history;
pub mod limits;
pub mod line;
pub mod now;
pub mod page;
pub mod parquet;
pub mod pictures;
pub mod plot;
pub mod story;
pub mod swarm;

//! A member that lies: it holds a key of the run and a place on the network, and answers every query with certainty and
//! wrongly. It announces nothing and keeps every rule that can be checked.

use std::thread::JoinHandle;

use protocol::crypto::keys::Keypair;
use protocol::id::OuterStep;
use protocol::wire::manifest::VERSION;
use protocol::wire::prediction::Prediction;
use protocol::wire::request::{Request, Want};
use starling_node::config::charter_file;
use starling_node::net::command::{AnswerBody, NetCommand, Verdict};
use starling_node::net::config::NetConfig;
use starling_node::net::event::NetEvent;
use starling_node::net::start::start;
use starling_node::store::keys::Identity;
use tokio::sync::oneshot;

use crate::network::Network;

/// A liar on a thread of its own.
pub(crate) struct Liar {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Takes the place of a node of the network, which must not run, and links to an address.
    pub(crate) fn start(net: &Network, node: usize, bootstrap: &str) -> Self {
        let identity = Identity::load(&net.nodes[node].dir).expect("init made an identity");
        let charter = charter_file::open(&net.charter.join("charter.toml")).expect("the charter was signed");
        let keys = Keypair::from_secret(*identity.seed());
        let mut config = NetConfig::new(*identity.seed(), charter.run());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
        config.bootstrap = vec![bootstrap.parse().expect("a node tells addresses")];
        let labels = charter.charter().task.labels.len();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let (handle, mut events) = start(config).expect("loopback can be listened on");
                let lie = async {
                    while let Some(event) = events.recv().await {
                        match event {
                            NetEvent::Asked { inbound, request, .. } => {
                                let answer = answer(&request, &charter.run(), labels, &keys);
                                handle.send(NetCommand::Answer { inbound, answer });
                            }
                            NetEvent::Heard { tag, .. } => {
                                handle.send(NetCommand::Judge { tag, verdict: Verdict::Ignore });
                            }
                            _ => {}
                        }
                    }
                };
                tokio::select! {
                    () = lie => {}
                    _ = stopped => {}
                }
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

/// Certain of the last label, whatever the word.
fn answer(request: &[u8], run: &protocol::id::RunId, labels: usize, keys: &Keypair) -> AnswerBody {
    let Ok(Request { want: Want::Predict(query), .. }) = Request::open(request, run) else {
        return AnswerBody::NotFound;
    };
    let Ok(outputs) = query.outputs(true) else { return AnswerBody::NotFound };
    let probabilities =
        (0..outputs * labels).map(|i| f32::from(u8::from(i % labels == labels - 1))).collect();
    let (query, step) = (query.hash(), OuterStep(6));
    let said = Prediction { version: VERSION, run: *run, query, step, probabilities };
    AnswerBody::Parts(vec![said.seal(keys).into()])
}

impl Drop for Liar {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there fails the test by its missing answers.
            drop(thread.join());
        }
    }
}

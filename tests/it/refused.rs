//! What a node does not let in, and what it does not start with.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use protocol::id::{AskId, PeerId, RunId};
use protocol::wire::request::{Request, Want};
use starling_node::net::command::{NetCommand, PartSpec};
use starling_node::net::config::NetConfig;
use starling_node::net::event::NetEvent;
use starling_node::net::handle::NetHandle;
use tokio::sync::mpsc::Receiver;

use crate::network::Network;
use crate::node::{Node, path};
use crate::program::{Finished, LIMIT, ok, run};

#[test]
fn a_node_that_cannot_start_says_why_and_ends_with_the_promised_code() {
    let mut net = Network::found(2, &[]);
    let (ada, charter, data) = (net.nodes[0].dir.clone(), net.charter.clone(), net.data(0));
    let start = |change: &[&str]| -> Finished {
        let mut args = vec!["run", "--dir", path(&ada), "--charter", path(&charter), "--data", path(&data)];
        for pair in change.chunks(2) {
            match args.iter().position(|a| *a == pair[0]) {
                Some(at) => args[at + 1] = pair[1],
                None => args.extend(pair),
            }
        }
        args.push("--until-done");
        run(&args)
    };
    let refused = |ended: Finished, code: i32, words: &[&str]| {
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{word:?} in {}", ended.stderr);
        }
    };
    refused(start(&["--dta", "x"]), 2, &["--data"]);
    refused(start(&["--bootstrap", "nowhere"]), 2, &["--bootstrap"]);
    refused(start(&["--charter", "no-such-charter"]), 3, &["no-such-charter", "try: "]);
    refused(start(&["--data", "no-such-data"]), 6, &["no-such-data"]);
    let empty = net.at("empty.conll");
    fs::write(&empty, "").unwrap();
    refused(start(&["--data", path(&empty)]), 6, &["empty.conll", "found none"]);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    refused(start(&["--listen", &address]), 4, &[&address, "try: "]);

    let key = ada.join("identity.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused(start(&[]), 3, &["0644", "try: run `chmod 600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let stranger = Node::init(net.at("").as_path(), "stranger", "/ip4/127.0.0.1/tcp/0");
    refused(start(&["--dir", path(&stranger.dir)]), 5, &["not a member", "try: "]);

    let settings = ada.join("starling.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("organization = \"ada press\"", "organization = \"somebody\""))
        .unwrap();
    refused(start(&[]), 5, &["somebody", "ada press", "node.organization"]);
    fs::write(&settings, text).unwrap();

    let over = net.at("over");
    let member = format!("{}=ada press", net.nodes[0].peer);
    ok(&[
        "charter",
        "new",
        "--recipe",
        path(&net.at("recipe.toml")),
        "--out",
        path(&over),
        "--member",
        &member,
        "--days",
        "0",
    ]);
    ok(&["charter", "sign", path(&over.join("charter.toml")), "--dir", path(&ada)]);
    refused(start(&["--charter", path(&over)]), 5, &["date has passed", "try: ask the founders"]);

    let changed = net.at("changed");
    fs::create_dir(&changed).unwrap();
    for file in fs::read_dir(&net.charter).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), changed.join(file.file_name())).unwrap();
    }
    let text = fs::read_to_string(changed.join("charter.toml")).unwrap();
    assert!(text.contains("outer_steps = 12"), "{text}");
    fs::write(changed.join("charter.toml"), text.replace("outer_steps = 12", "outer_steps = 13")).unwrap();
    refused(start(&["--charter", path(&changed)]), 5, &["signatures"]);

    net.start(0, &[]);
    net.nodes[0].address();
    refused(start(&[]), 5, &["in use by process"]);
    // The refused second one did the first no harm.
    net.nodes[0].signal("TERM");
    assert_eq!(net.nodes[0].end().code, Some(0));
}

#[test]
fn a_stranger_and_a_node_of_another_run_are_hung_up_on_while_members_train_on() {
    let mut net = Network::found(2, &[("pulls", 1), ("outer_steps", 60), ("inner_steps", 8)]);
    let run_id = ok(&["charter", "check", path(&net.charter.join("charter.toml"))])["run"]
        .as_str()
        .unwrap()
        .to_owned();
    let run_id: RunId = run_id.parse().expect("the run is told as it is read");
    let mut other = Network::found(1, &[("pulls", 1)]);
    net.start_all(&[0, 1]);
    let address = net.nodes[0].address();
    other.start(0, &["--until-done", "--bootstrap", &address, "--wait-links", "1", "--wait-seconds", "3"]);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // One stranger asks for what only members get. Another says nothing and keeps its link to the end.
    let _silent = runtime.block_on(async {
        let (asker, mut events) = stranger(42, run_id, &address);
        let member = linked(&mut events).await;
        let want = Request::new(run_id, Want::News);
        let ask = AskId(1);
        let parts = vec![PartSpec::at_most(1 << 16)];
        let request = want.to_bytes();
        asker.send(NetCommand::Ask { ask, peer: member, request, parts, first_byte_timeout: LIMIT });
        let next = |e: &NetEvent| {
            matches!(e, NetEvent::Failed { .. } | NetEvent::Done { .. } | NetEvent::LinkDown { .. })
        };
        let answer = seen(&mut events, next).await;
        assert!(!matches!(answer, NetEvent::Done { .. }), "news are for members: {answer:?}");
        if !matches!(answer, NetEvent::LinkDown { .. }) {
            seen(&mut events, |e| matches!(e, NetEvent::LinkDown { .. })).await;
        }
        let (silent, mut events) = stranger(43, run_id, &address);
        linked(&mut events).await;
        (silent, events)
    });
    let counted = net.nodes[0].until("the stranger in the records", |node| {
        node.events_of("offence").into_iter().find(|e| e["offence"] == "not_member")
    });
    assert_ne!(counted["peer"].as_str(), Some(net.nodes[1].peer.as_str()));

    assert_eq!(other.nodes[0].end().code, Some(0));
    assert!(other.nodes[0].events_of("link_up").is_empty(), "runs do not mix");
    for node in &mut net.nodes {
        assert_eq!(node.end().code, Some(0));
        assert!(
            node.events_of("mixed").iter().all(|e| e["peers"] == 1),
            "{} trained on with the member",
            node.name
        );
    }
    net.check_records();
    assert!(net.nodes[0].status().unwrap()["rejected_shards"].as_u64() >= Some(1));
}

fn stranger(seed: u8, run: RunId, address: &str) -> (NetHandle, Receiver<NetEvent>) {
    let mut config = NetConfig::new([seed; 32], run);
    config.bootstrap = vec![address.parse().unwrap()];
    starling_node::net::start::start(config).unwrap()
}

async fn linked(events: &mut Receiver<NetEvent>) -> PeerId {
    match seen(events, |e| matches!(e, NetEvent::LinkUp { .. })).await {
        NetEvent::LinkUp { peer, .. } => peer,
        other => unreachable!("{other:?} is no link"),
    }
}

/// The next event of a kind.
async fn seen(events: &mut Receiver<NetEvent>, is_it: impl Fn(&NetEvent) -> bool) -> NetEvent {
    let wanted = async {
        loop {
            let event = events.recv().await.expect("the network runs");
            if is_it(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(LIMIT, wanted).await.expect("it comes in time")
}
